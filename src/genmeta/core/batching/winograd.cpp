// 3x3 convolution of channels-last images with less arithmetic than the sum has, and its gradient in the kernels.
//
// A tile of m x m outputs is made of (m + 2) x (m + 2) inputs. Along each side both are coefficients of polynomials, and
// a product of polynomials is known from its values at m + 2 points: 0, +-p1, +-p2, ..., and for an even m also infinity.
// So a tile takes (m + 2)^2 products for each pair of channels instead of 9 m^2, and three linear maps:
//   y = A^T ((G w G^T) * (B^T x B)) A,
// where * is a matrix product over channels for each pair of points (Winograd's minimal filtering; Lavin and Gray, "Fast
// algorithms for convolutional neural networks", 2016, https://arxiv.org/abs/1509.09308). Points whose powers neither
// grow nor vanish keep the result in float32 nearly as exact as a sum's.
//
// Images lie as [N H W C], kernels as [O I 3 3]. Blocks of tiles go through all three stages while they are in the
// cache. Channels are a multiple of a vector's numbers.

#include "vectors.h"

namespace {

constexpr int COLUMNS = BYTES == 64 ? 4 : 2;  // vectors of a row of the product that is held in registers
constexpr int ROWS = 6;                       // rows of it
constexpr int MOST = 3;                       // pairs of points

struct Tiling {
  long images, height, width, in, out;  // N H W I O
  int threads;
  int turned;  // convolve with the kernels of the gradient in the images
};

// numbers from one of a few matrices to the next: a line more than the matrix, or all would fall into one set of the cache
template <class T>
long apart(long size) {
  return size + 64 / long(sizeof(T));
}

// ---- the maps along one side, points in the order 0, p1, -p1, p2, -p2, ..., infinity -----------------------------------

template <int OUTPUTS>
struct Points;

template <>
struct Points<3> {
  static constexpr double at[] = {0.875, 1.75};
};
template <>
struct Points<4> {
  static constexpr double at[] = {0.70710678118654752440, 1.41421356237309504880};
};
template <>
struct Points<5> {
  static constexpr double at[] = {0.5625, 1.1875, 2.375};
};

template <int OUTPUTS>
struct Tile {
  static constexpr int OUT = OUTPUTS, SIDE = OUT + 2, PAIRS = (SIDE - 1) / 2, ALL = SIDE * SIDE;
  static constexpr bool INFINITE = SIDE % 2 == 0;
  static constexpr long BLOCK = 24;  // tiles

  double power[PAIRS][OUT] = {};     // of each pair's point
  double others[PAIRS][PAIRS] = {};  // coefficients of the product of x^2 - p^2 over the other pairs
  double every[PAIRS + 1] = {};      // and over all
  double weight[PAIRS] = {}, weight0 = 0;

  constexpr Tile() {
    every[0] = 1;
    for (int i = 0; i < PAIRS; i++) {
      const double p = Points<OUT>::at[i];
      power[i][0] = 1;
      for (int r = 1; r < OUT; r++) power[i][r] = power[i][r - 1] * p;
      double rest = 1;
      others[i][0] = 1;
      for (int j = 0; j < PAIRS; j++) {
        const double square = Points<OUT>::at[j] * Points<OUT>::at[j];
        if (j == i) continue;
        rest *= p * p - square;
        for (int k = PAIRS - 1; k >= 0; k--) others[i][k] = (k ? others[i][k - 1] : 0) - square * others[i][k];
      }
      weight[i] = 1 / (2 * p * p * rest);
      for (int k = PAIRS; k >= 0; k--) every[k] = (k ? every[k - 1] : 0) - p * p * every[k];
    }
    weight0 = 1 / every[0];
  }
};

template <int OUT>
constexpr Tile<OUT> tile{};

template <int OUT, class T, class V>
inline void inputs(const V* x, V* y) {  // B^T
  constexpr const Tile<OUT>& t = tile<OUT>;
  y[0] = T(t.every[0]) * x[0];
#pragma GCC unroll 4
  for (int k = 1; k <= t.PAIRS; k++) y[0] += T(t.every[k]) * x[2 * k];
#pragma GCC unroll 4
  for (int i = 0; i < t.PAIRS; i++) {
    V even = T(t.others[i][0]) * x[2], odd = T(t.others[i][0]) * x[1];
#pragma GCC unroll 4
    for (int k = 1; k < t.PAIRS; k++) {
      even += T(t.others[i][k]) * x[2 + 2 * k];
      odd += T(t.others[i][k]) * x[1 + 2 * k];
    }
    y[1 + 2 * i] = even + T(t.power[i][1]) * odd;
    y[2 + 2 * i] = even - T(t.power[i][1]) * odd;
  }
  if (!t.INFINITE) return;
  y[t.SIDE - 1] = T(t.every[0]) * x[1];
#pragma GCC unroll 4
  for (int k = 1; k <= t.PAIRS; k++) y[t.SIDE - 1] += T(t.every[k]) * x[1 + 2 * k];
}

template <int OUT, class T, class V>
inline void outputs(const V* m, V* y) {  // A^T
  constexpr const Tile<OUT>& t = tile<OUT>;
  V sum[MOST], difference[MOST];
#pragma GCC unroll 4
  for (int i = 0; i < t.PAIRS; i++) {
    sum[i] = m[1 + 2 * i] + m[2 + 2 * i];
    difference[i] = m[1 + 2 * i] - m[2 + 2 * i];
  }
  y[0] = m[0] + sum[0];
#pragma GCC unroll 4
  for (int i = 1; i < t.PAIRS; i++) y[0] += sum[i];
#pragma GCC unroll 8
  for (int r = 1; r < OUT; r++) {
    y[r] = T(t.power[0][r]) * (r % 2 ? difference[0] : sum[0]);
#pragma GCC unroll 4
    for (int i = 1; i < t.PAIRS; i++) y[r] += T(t.power[i][r]) * (r % 2 ? difference[i] : sum[i]);
  }
  if (t.INFINITE) y[OUT - 1] += m[t.SIDE - 1];
}

template <int OUT, class T, class V>
inline void outputs_back(const V* y, V* m) {  // A
  constexpr const Tile<OUT>& t = tile<OUT>;
  m[0] = y[0];
#pragma GCC unroll 4
  for (int i = 0; i < t.PAIRS; i++) {
    V even = y[0], odd = T(t.power[i][1]) * y[1];
#pragma GCC unroll 8
    for (int r = 2; r < OUT; r++) (r % 2 ? odd : even) += T(t.power[i][r]) * y[r];
    m[1 + 2 * i] = even + odd;
    m[2 + 2 * i] = even - odd;
  }
  if (t.INFINITE) m[t.SIDE - 1] = y[OUT - 1];
}

template <int OUT, class T, class V>
inline void kernels(const V* g, V* u) {  // G
  constexpr const Tile<OUT>& t = tile<OUT>;
  u[0] = T(t.weight0) * g[0];
#pragma GCC unroll 4
  for (int i = 0; i < t.PAIRS; i++) {
    const V even = T(t.weight[i]) * g[0] + T(t.weight[i] * t.power[i][2]) * g[2];
    const V odd = T(t.weight[i] * t.power[i][1]) * g[1];
    u[1 + 2 * i] = even + odd;
    u[2 + 2 * i] = even - odd;
  }
  if (t.INFINITE) u[t.SIDE - 1] = g[2];
}

template <int OUT, class T, class V>
inline void kernels_back(const V* u, V* g) {  // G^T
  constexpr const Tile<OUT>& t = tile<OUT>;
  g[0] = T(t.weight0) * u[0];
  g[1] = g[2] = V{};
#pragma GCC unroll 4
  for (int i = 0; i < t.PAIRS; i++) {
    const V sum = u[1 + 2 * i] + u[2 + 2 * i], difference = u[1 + 2 * i] - u[2 + 2 * i];
    g[0] += T(t.weight[i]) * sum;
    g[1] += T(t.weight[i] * t.power[i][1]) * difference;
    g[2] += T(t.weight[i] * t.power[i][2]) * sum;
  }
  if (t.INFINITE) g[2] += u[t.SIDE - 1];
}

// both sides: FROM x FROM values, read(k), become TO x TO, write(k, value), by the map along one side
template <int FROM, int TO, class V, class Read, class Write, class Map>
inline void both_sides(Read read, Write write, Map map) {
  V half[TO * FROM];
#pragma GCC unroll 8
  for (int c = 0; c < FROM; c++) {
    V x[FROM], y[TO];
#pragma GCC unroll 8
    for (int r = 0; r < FROM; r++) x[r] = read(r * FROM + c);
    map(x, y);
#pragma GCC unroll 8
    for (int r = 0; r < TO; r++) half[r * FROM + c] = y[r];
  }
#pragma GCC unroll 8
  for (int r = 0; r < TO; r++) {
    V y[TO];
    map(half + r * FROM, y);
#pragma GCC unroll 8
    for (int c = 0; c < TO; c++) write(r * TO + c, y[c]);
  }
}

// ---- products --------------------------------------------------------------------------------------------------------

// c (+)= a b for R rows and N vectors of columns; a's number of row r and depth k lies at r * row + k * step
template <int R, int N, class T>
inline void product(const T* a, long row, long step, const T* b, long b_row, T* c, long c_row, long depth, bool add) {
  typedef Vec<T> W;
  typename W::type sum[R][N];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 4
    for (int n = 0; n < N; n++)
      sum[r][n] = add ? W::load(c + r * c_row + n * W::lanes) : typename W::type{};
  for (long k = 0; k < depth; k++) {
    typename W::type column[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; n++) column[n] = W::load(b + k * b_row + n * W::lanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      const T here = a[r * row + k * step];
#pragma GCC unroll 4
      for (int n = 0; n < N; n++) sum[r][n] += here * column[n];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 4
    for (int n = 0; n < N; n++) W::store(c + r * c_row + n * W::lanes, sum[r][n]);
}

template <int N, class T>
void panel(const T* a, long row, long step, const T* b, long b_row, T* c, long c_row, long rows, long depth, bool add) {
  long r = 0;
  for (; r + ROWS <= rows; r += ROWS) product<ROWS, N>(a + r * row, row, step, b, b_row, c + r * c_row, c_row, depth, add);
  a += r * row, c += r * c_row;
  switch (rows - r) {
    case 5: return product<5, N>(a, row, step, b, b_row, c, c_row, depth, add);
    case 4: return product<4, N>(a, row, step, b, b_row, c, c_row, depth, add);
    case 3: return product<3, N>(a, row, step, b, b_row, c, c_row, depth, add);
    case 2: return product<2, N>(a, row, step, b, b_row, c, c_row, depth, add);
    case 1: return product<1, N>(a, row, step, b, b_row, c, c_row, depth, add);
  }
}

// c [rows columns] (+)= a [rows depth] b [depth columns]
template <class T>
void multiply(const T* a, long row, long step, const T* b, T* c, long rows, long depth, long columns, bool add) {
  constexpr long lanes = Vec<T>::lanes;
  long at = 0;
  for (; at + COLUMNS * lanes <= columns; at += COLUMNS * lanes)
    panel<COLUMNS>(a, row, step, b + at, columns, c + at, columns, rows, depth, add);
  for (; at < columns; at += lanes) panel<1>(a, row, step, b + at, columns, c + at, columns, rows, depth, add);
}

// ---- tiles -----------------------------------------------------------------------------------------------------------

// where a tile lies
template <int OUT>
struct Place {
  const Tiling& s;
  long n, y, x;  // image, and the first output's row and column
  static long down(const Tiling& s) { return (s.height + OUT - 1) / OUT; }
  static long across(const Tiling& s) { return (s.width + OUT - 1) / OUT; }
  static long tiles(const Tiling& s) { return s.images * down(s) * across(s); }
  Place(const Tiling& s, long tile) : s(s) {
    n = tile / (down(s) * across(s));
    y = tile / across(s) % down(s) * OUT;
    x = tile % across(s) * OUT;
  }
  bool inside(long row, long column) const { return row >= 0 && row < s.height && column >= 0 && column < s.width; }
  long pixel(long row, long column) const { return (n * s.height + row) * s.width + column; }
};

// numbers from one point's values of a block of tiles, [BLOCK channels], to the next one's
template <int OUT, class T>
long spread(long channels) {
  return apart<T>(Tile<OUT>::BLOCK * channels);
}

// values of tiles at the points, [points][BLOCK][channels], from FROM x FROM pixels around each that begin `shift` from it
template <int OUT, int FROM, class T, class Map>
void to_points(const Tiling& s, const T* images, long channels, long from, long count, int shift, T* out, Map map) {
  typedef Vec<T> W;
  const long distance = spread<OUT, T>(channels);
  Room<T> blank(channels);
  for (long c = 0; c < channels; c++) blank.at[c] = 0;
  for (long t = 0; t < count; t++) {
    const Place<OUT> p(s, from + t);
    const T* pixels[FROM * FROM];
    for (int r = 0; r < FROM; r++)
      for (int c = 0; c < FROM; c++) {
        const long y = p.y + r + shift, x = p.x + c + shift;
        pixels[r * FROM + c] = p.inside(y, x) ? images + p.pixel(y, x) * channels : blank.at;
      }
    T* here = out + t * channels;
    for (long c = 0; c < channels; c += W::lanes)
      both_sides<FROM, Tile<OUT>::SIDE, typename W::type>(
          [&](int k) { return W::load(pixels[k] + c); },
          [&](int k, typename W::type v) { W::store(here + k * distance + c, v); }, map);
  }
}

template <int OUT, class T>
void from_points(const Tiling& s, const T* values, long from, long count, T* images) {
  typedef Vec<T> W;
  const long distance = spread<OUT, T>(s.out);
  Room<T> nowhere(s.out);
  for (long t = 0; t < count; t++) {
    const Place<OUT> p(s, from + t);
    T* pixels[OUT * OUT];
    for (int r = 0; r < OUT; r++)
      for (int c = 0; c < OUT; c++)
        pixels[r * OUT + c] = p.inside(p.y + r, p.x + c) ? images + p.pixel(p.y + r, p.x + c) * s.out : nowhere.at;
    const T* here = values + t * s.out;
    for (long c = 0; c < s.out; c += W::lanes)
      both_sides<Tile<OUT>::SIDE, OUT, typename W::type>(
          [&](int k) { return W::load(here + k * distance + c); },
          [&](int k, typename W::type v) { W::store(pixels[k] + c, v); },
          [](const auto* a, auto* b) { outputs<OUT, T>(a, b); });
  }
}

// kernels [O I 3 3] as [points][in][out] of values at the points. `turned`: those of the gradient in the images, which is
// a convolution of the outputs' gradient with kernels turned by half a turn, from O channels to I
template <int OUT, class T>
void kernels_to_points(const T* w, long in, long out, bool turned, T* u) {
  typedef Vec<T> W;
  const long distance = apart<T>(in * out), next = turned ? 9 : in * 9, row = turned ? out * 9 : 9;
  Room<T> side(9 * out);
  T* plain = side.at;
  for (long i = 0; i < in; i++) {
    for (long o = 0; o < out; o++)
      for (int k = 0; k < 9; k++) plain[(turned ? 8 - k : k) * out + o] = w[i * row + o * next + k];
    for (long o = 0; o < out; o += W::lanes)
      both_sides<3, Tile<OUT>::SIDE, typename W::type>([&](int k) { return W::load(plain + k * out + o); },
                                               [&](int k, typename W::type v) { W::store(u + k * distance + i * out + o, v); },
                                               [](const auto* a, auto* b) { kernels<OUT, T>(a, b); });
  }
}

template <int OUT, class T>  // the adjoint, [points][out][in] -> [O I 3 3]
void kernels_from_points(const T* u, long in, long out, T* w) {
  typedef Vec<T> W;
  const long distance = apart<T>(out * in);
  T plain[9 * W::lanes];
  for (long o = 0; o < out; o++)
    for (long i = 0; i < in; i += W::lanes) {
      both_sides<Tile<OUT>::SIDE, 3, typename W::type>(
          [&](int k) { return W::load(u + k * distance + o * in + i); },
          [&](int k, typename W::type v) { W::store(plain + k * W::lanes, v); },
          [](const auto* a, auto* b) { kernels_back<OUT, T>(a, b); });
      for (int l = 0; l < W::lanes; l++)
        for (int k = 0; k < 9; k++) w[(o * in + i + l) * 9 + k] = plain[k * W::lanes + l];
    }
}

// ---- the convolution and its gradient in the kernels -------------------------------------------------------------------

// y = x * w, or x * w + x2 * w2
template <int OUT, class T>
void convolve(const Tiling& s, const T* x, const T* w, const T* x2, const T* w2, T* y) {
  typedef Tile<OUT> S;
  const long distance = apart<T>(s.in * s.out), read = spread<OUT, T>(s.in), made = spread<OUT, T>(s.out);
  const long tiles = Place<OUT>::tiles(s), blocks = (tiles + S::BLOCK - 1) / S::BLOCK;
  const int terms = x2 ? 2 : 1;
  Room<T> u(terms * S::ALL * distance);
  kernels_to_points<OUT>(w, s.in, s.out, s.turned, u.at);
  if (x2) kernels_to_points<OUT>(w2, s.in, s.out, s.turned, u.at + S::ALL * distance);
#pragma omp parallel num_threads(s.threads) if (s.threads > 1)
  {
    Room<T> v(S::ALL * read), m(S::ALL * made);
#pragma omp for schedule(static)
    for (long b = 0; b < blocks; b++) {
      const long from = b * S::BLOCK, count = from + S::BLOCK < tiles ? S::BLOCK : tiles - from;
      for (int term = 0; term < terms; term++) {
        to_points<OUT, S::SIDE>(s, term ? x2 : x, s.in, from, count, -1, v.at,
                                [](const auto* a, auto* b) { inputs<OUT, T>(a, b); });
        for (int k = 0; k < S::ALL; k++)
          multiply(v.at + k * read, s.in, 1, u.at + (term * S::ALL + k) * distance, m.at + k * made, count, s.in, s.out,
                   term > 0);
      }
      from_points<OUT>(s, m.at, from, count, y);
    }
  }
}

// gradient in the kernels, [O I 3 3]
template <int OUT, class T>
void kernel_gradient(const Tiling& s, const T* x, const T* g, T* w) {
  typedef Tile<OUT> S;
  const long distance = apart<T>(s.out * s.in), read = spread<OUT, T>(s.in), back = spread<OUT, T>(s.out);
  const long tiles = Place<OUT>::tiles(s), together = (S::BLOCK + s.threads - 1) / s.threads;
  Room<T> u(S::ALL * distance), v(S::ALL * read), m(S::ALL * back);
  for (long from = 0; from < tiles; from += S::BLOCK) {
    const long count = from + S::BLOCK < tiles ? S::BLOCK : tiles - from;
#pragma omp parallel num_threads(s.threads) if (s.threads > 1)
    {
#pragma omp for schedule(static)
      for (long at = 0; at < count; at += together) {
        const long some = at + together < count ? together : count - at;
        to_points<OUT, S::SIDE>(s, x, s.in, from + at, some, -1, v.at + at * s.in,
                                [](const auto* a, auto* b) { inputs<OUT, T>(a, b); });
        to_points<OUT, OUT>(s, g, s.out, from + at, some, 0, m.at + at * s.out,
                            [](const auto* a, auto* b) { outputs_back<OUT, T>(a, b); });
      }
#pragma omp for schedule(static)
      for (int k = 0; k < S::ALL; k++)
        multiply(m.at + k * back, 1, s.out, v.at + k * read, u.at + k * distance, s.out, count, s.in, from > 0);
    }
  }
  kernels_from_points<OUT>(u.at, s.in, s.out, w);
}

// the tile that takes the fewest products: an image's sides are rarely multiples of it
template <class Visit>
void best_tile(const Tiling& s, Visit visit) {
  const auto products = [&](long out) {
    return (s.height + out - 1) / out * ((s.width + out - 1) / out) * (out + 2) * (out + 2);
  };
  if (products(5) < products(4) && products(5) < products(3)) return visit(Tile<5>());
  if (products(3) < products(4)) return visit(Tile<3>());
  visit(Tile<4>());
}

}  // namespace

#define WINOGRAD(SUFFIX, T)                                                                                            \
  extern "C" void convolve_##SUFFIX(const Tiling* s, const T* x, const T* w, const T* x2, const T* w2, T* y) {         \
    best_tile(*s, [&](auto t) { convolve<decltype(t)::OUT, T>(*s, x, w, x2, w2, y); });                                \
  }                                                                                                                    \
  extern "C" void kernel_gradient_##SUFFIX(const Tiling* s, const T* x, const T* g, T* w) {                            \
    best_tile(*s, [&](auto t) { kernel_gradient<decltype(t)::OUT, T>(*s, x, g, w); });                                 \
  }

WINOGRAD(float, float)
WINOGRAD(double, double)
