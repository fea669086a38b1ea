// Convolution as a product of patches and kernels, 2x2 max-pool and leaky ReLU in one pass, and its derivatives.
//
//   y = act(pool(P w + b)),   act(t) = t > 0 ? t : slope * t
//
// P holds the patches of every pixel, [N H W K]; w [rows K C] and b [rows C] are those of an image's row, n / per_row. What
// is not pooled never reaches memory. The operation is linear between its kinks, so its derivatives are the two linear
// maps that the places of the maxima make: the gradient's sums with the patches there, and the products there.
// K is a multiple of 9 and C one of a vector's numbers.
//
// Those w and b are a convolution's kernels k [K C] with a normalisation folded in. For a row of images whose patches have
// the mean m and the covariance S, a channel's mean and variance are mu = m k and v = k S k, and those of a group of n
// channels are <mu> and <v + (mu - <mu>)^2>, <.> being a mean over the group. With r = (v + eps)^(-1/2), f = scale * r:
//   w = f k,   b = shift - mu f.
// The derivatives of L in k, scale and shift, given A = dL/dw, a = dL/db and the direct ones in mu and v, are the usual
// ones backwards. The second derivative is that of h . (dk, dscale, dshift) = A . w' + a b' + ..., where w', b' are the
// derivatives of w and b along h: so those are its derivatives in A and a, and the others come from it backwards again.

#include <cmath>
#include <vector>

#include "vectors.h"

namespace {

struct Pooling {
  long images, height, width, patch, channels, per_row;  // N H W K C
  int threads;
  double slope;

  long down() const { return height / 2; }
  long across() const { return width / 2; }
  long out_size() const { return down() * across() * channels; }
};

// the four products of the pixels of a pool with N vectors of kernels
template <int N, class T>
inline void products(const Pooling& s, const T* p, const T* w, const T* b, typename Vec<T>::type (&sum)[4][N]) {
  typedef Vec<T> W;
  const T *p1 = p + s.patch, *p2 = p + s.width * s.patch, *p3 = p2 + s.patch;
#pragma GCC unroll 2
  for (int n = 0; n < N; n++) sum[0][n] = sum[1][n] = sum[2][n] = sum[3][n] = W::load(b + n * W::lanes);
  for (long k = 0; k < s.patch; k++) {
#pragma GCC unroll 2
    for (int n = 0; n < N; n++) {
      const typename W::type v = W::load(w + k * s.channels + n * W::lanes);
      sum[0][n] += p[k] * v;
      sum[1][n] += p1[k] * v;
      sum[2][n] += p2[k] * v;
      sum[3][n] += p3[k] * v;
    }
  }
}

// for each pool of image n and each one or two vectors of channels: visit(pool's patches, place in out, channel)
template <class T, class Visit>
inline void pools(const Pooling& s, const T* patches, long n, Visit visit) {
  for (long y = 0; y < s.down(); y++)
    for (long x = 0; x < s.across(); x++)
      visit(patches + ((n * s.height + 2 * y) * s.width + 2 * x) * s.patch,
            n * s.out_size() + (y * s.across() + x) * s.channels);
}

template <int N, class T>
void pool_forward(const Pooling& s, const T* patches, const T* w, const T* b, long n, long c, T* out, uint8_t* where) {
  typedef Vec<T> W;
  typedef typename W::type V;
  const T slope = T(s.slope);
  const bool linear = s.slope == 1;
  pools(s, patches, n, [&](const T* p, long at) {
    V sum[4][N];
    products<N>(s, p, w + c, b + c, sum);
#pragma GCC unroll 2
    for (int i = 0; i < N; i++) {
      // the first of equal maxima, and what is not a number wins, as in torch
      V best = sum[0][i];
      auto place = best != best;
      place = place & 0;
#pragma GCC unroll 3
      for (int q = 1; q < 4; q++) {
        const V t = sum[q][i];
        const auto wins = (t > best) | (t != t);
        best = wins ? t : best;
        place = wins ? (place & 0) + q : place;
      }
      const V zero = {};
      if (!linear) {
        const auto keep = best > zero;
        const auto stays = keep | (best != best);
        best = stays ? best : best * slope;
        place = keep ? place : place + 4;
      }
      W::store(out + at + c + i * W::lanes, best);
      *reinterpret_cast<typename W::bytes*>(where + at + c + i * W::lanes) =
          __builtin_convertvector(place, typename W::bytes);
    }
  });
}

// the places of the maxima, as numbers of the same width as T
template <class T>
inline auto places(const uint8_t* where) {
  typedef decltype(typename Vec<T>::type{} != typename Vec<T>::type{}) Mask;
  return __builtin_convertvector(*reinterpret_cast<const typename Vec<T>::bytes*>(where), Mask);
}

template <int N, class T>
void at_maxima(const Pooling& s, const T* patches, const T* w, const T* b, const uint8_t* where, long n, long c, T* out) {
  typedef Vec<T> W;
  typedef typename W::type V;
  const T slope = T(s.slope);
  pools(s, patches, n, [&](const T* p, long at) {
    V sum[4][N];
    products<N>(s, p, w + c, b + c, sum);
#pragma GCC unroll 2
    for (int i = 0; i < N; i++) {
      const auto k = places<T>(where + at + c + i * W::lanes);
      const V upper = (k & 1) ? sum[1][i] : sum[0][i], lower = (k & 1) ? sum[3][i] : sum[2][i];
      const V t = (k & 2) ? lower : upper;
      W::store(out + at + c + i * W::lanes, (k & 4) ? t * slope : t);
    }
  });
}

// sums over an image of v * patch at the maxima, [K C], nine rows of patches at a time, and of v, [C]
template <class T>
void sums_with_patches(const Pooling& s, const T* patches, const T* grad, const uint8_t* where, long n, long c, long k0,
                       T* d_w, T* d_b) {
  typedef Vec<T> W;
  typedef typename W::type V;
  const T slope = T(s.slope);
  V total = {}, sum[9] = {};
  const V zero = {};
  pools(s, patches, n, [&](const T* p, long at) {
    const T* pixel[4] = {p + k0, p + k0 + s.patch, p + k0 + s.width * s.patch, p + k0 + (s.width + 1) * s.patch};
    const auto k = places<T>(where + at + c);
    V v = W::load(grad + at + c);
    v = (k & 4) ? v * slope : v;
    total += v;
#pragma GCC unroll 4
    for (int q = 0; q < 4; q++) {
      const V here = ((k & 3) == q) ? v : zero;
#pragma GCC unroll 9
      for (int j = 0; j < 9; j++) sum[j] += pixel[q][j] * here;
    }
  });
#pragma GCC unroll 9
  for (int j = 0; j < 9; j++) W::store(d_w + (k0 + j) * s.channels + c, sum[j]);
  if (!k0) W::store(d_b + c, total);
}

// image by image, one or two vectors of channels at a time
template <class T, class Two, class One>
void image_by_image(const Pooling& s, Two two, One one) {
  constexpr long lanes = Vec<T>::lanes;
#pragma omp parallel for schedule(static) num_threads(s.threads) if (s.threads > 1)
  for (long n = 0; n < s.images; n++) {
    long c = 0;
    for (; c + 2 * lanes <= s.channels; c += 2 * lanes) two(n, c);
    if (c < s.channels) one(n, c);
  }
}

template <class T>
void patches_forward(const Pooling& s, const T* patches, const T* w, const T* b, T* out, uint8_t* where) {
  const long kernels = s.patch * s.channels;
  image_by_image<T>(
      s,
      [&](long n, long c) {
        const long row = n / s.per_row;
        pool_forward<2>(s, patches, w + row * kernels, b + row * s.channels, n, c, out, where);
      },
      [&](long n, long c) {
        const long row = n / s.per_row;
        pool_forward<1>(s, patches, w + row * kernels, b + row * s.channels, n, c, out, where);
      });
}

template <class T>
void patches_at_maxima(const Pooling& s, const T* patches, const T* w, const T* b, const uint8_t* where, T* out) {
  const long kernels = s.patch * s.channels;
  image_by_image<T>(
      s,
      [&](long n, long c) {
        const long row = n / s.per_row;
        at_maxima<2>(s, patches, w + row * kernels, b + row * s.channels, where, n, c, out);
      },
      [&](long n, long c) {
        const long row = n / s.per_row;
        at_maxima<1>(s, patches, w + row * kernels, b + row * s.channels, where, n, c, out);
      });
}

template <class T>
void patches_backward(const Pooling& s, const T* patches, const uint8_t* where, const T* grad, T* d_w, T* d_b) {
  const long kernels = s.patch * s.channels, each = kernels + s.channels;
  Room<T> sums(s.images * each);
#pragma omp parallel for schedule(static) num_threads(s.threads) if (s.threads > 1)
  for (long n = 0; n < s.images; n++)
    for (long c = 0; c < s.channels; c += Vec<T>::lanes)
      for (long k = 0; k < s.patch; k += 9)
        sums_with_patches(s, patches, grad, where, n, c, k, sums.at + n * each, sums.at + n * each + kernels);
  std::vector<double> total(each);
  for (long row = 0; row < s.images / s.per_row; row++) {
    for (double& t : total) t = 0;
    for (long n = row * s.per_row; n < (row + 1) * s.per_row; n++)
      for (long i = 0; i < each; i++) total[i] += sums.at[n * each + i];
    for (long i = 0; i < kernels; i++) d_w[row * kernels + i] = T(total[i]);
    for (long c = 0; c < s.channels; c++) d_b[row * s.channels + c] = T(total[kernels + c]);
  }
}

// patches of 3x3 pixels around every pixel of channels-last images, zeros outside: [N H W K], K = channels * 9
template <class T>
void patches_cut(const Pooling& s, const T* images, T* patches) {
  const long C = s.patch / 9;
#pragma omp parallel for schedule(static) num_threads(s.threads) if (s.threads > 1)
  for (long n = 0; n < s.images; n++)
    for (long y = 0; y < s.height; y++)
      for (long x = 0; x < s.width; x++) {
        const long at = (n * s.height + y) * s.width + x;
        const bool inner = y > 0 && x > 0 && y + 1 < s.height && x + 1 < s.width;
        T* p = patches + at * s.patch;
        for (long c = 0; c < C; c++)
          for (long dy = -1; dy <= 1; dy++)
            for (long dx = -1; dx <= 1; dx++) {
              const bool inside = inner || (y + dy >= 0 && y + dy < s.height && x + dx >= 0 && x + dx < s.width);
              *p++ = inside ? images[(at + dy * s.width + dx) * C + c] : T(0);
            }
      }
}

// mean and covariance of the patches of every row of images, in double: [R K] and [R K K]. Of an image, rows of pixels
// are summed up in T and these in double
template <class T>
void patches_moments(const Pooling& s, const T* patches, double* mean, double* covariance) {
  typedef Vec<T> W;
  const long K = s.patch, pixels = s.height * s.width, padded = (K + W::lanes - 1) / W::lanes * W::lanes;
  std::vector<double> means(s.images * K), covariances(s.images * K * K);
#pragma omp parallel for schedule(static) num_threads(s.threads) if (s.threads > 1)
  for (long n = 0; n < s.images; n++) {
    const T* p = patches + n * pixels * K;
    double *m = &means[n * K], *v = &covariances[n * K * K];
    Room<T> room(K * padded + padded);
    std::vector<T> row(K), centre(K);
    T *sums = room.at, *d = sums + K * padded;
    for (long y = 0; y < s.height; y++) {
      for (long j = 0; j < K; j++) row[j] = 0;
      for (long x = 0; x < s.width; x++)
        for (long j = 0; j < K; j++) row[j] += p[(y * s.width + x) * K + j];
      for (long j = 0; j < K; j++) m[j] += row[j];
    }
    for (long j = 0; j < K; j++) centre[j] = T(m[j] /= pixels);
    for (long j = K; j < padded; j++) d[j] = 0;
    for (long y = 0; y < s.height; y++) {
      for (long i = 0; i < K * padded; i++) sums[i] = 0;
      for (long x = 0; x < s.width; x++) {
        const T* here = p + (y * s.width + x) * K;
        for (long j = 0; j < K; j++) d[j] = here[j] - centre[j];
        for (long j = 0; j < padded; j += W::lanes) {
          const typename W::type column = W::load(d + j);
          for (long i = 0; i < K; i++)
            W::store(sums + i * padded + j, W::load(sums + i * padded + j) + d[i] * column);
        }
      }
      for (long i = 0; i < K; i++)
        for (long j = 0; j < K; j++) v[i * K + j] += sums[i * padded + j];
    }
    // the deviations were from the rounded mean
    for (long i = 0; i < K; i++)
      for (long j = 0; j < K; j++)
        v[i * K + j] = v[i * K + j] / pixels - (m[i] - double(centre[i])) * (m[j] - double(centre[j]));
  }
  for (long r = 0; r < s.images / s.per_row; r++) {
    double *m = mean + r * K, *v = covariance + r * K * K;
    const double *ms = &means[r * s.per_row * K], *vs = &covariances[r * s.per_row * K * K];
    for (long j = 0; j < K; j++) m[j] = 0;
    for (long i = 0; i < K * K; i++) v[i] = 0;
    for (long n = 0; n < s.per_row; n++)
      for (long j = 0; j < K; j++) m[j] += ms[n * K + j] / s.per_row;
    for (long n = 0; n < s.per_row; n++)
      for (long i = 0; i < K; i++)
        for (long j = 0; j < K; j++)
          v[i * K + j] += (vs[(n * K + i) * K + j] + (ms[n * K + i] - m[i]) * (ms[n * K + j] - m[j])) / s.per_row;
  }
}

// ---- a normalisation folded into the kernels ---------------------------------------------------------------------------

struct Folding {
  long rows, patch, channels, width, per_row;  // R K C; channels of a group; rows that share a row of scale and shift
  double eps;
};

// mean and variance of the channels of a row, q = S k, and of their groups, all in double
struct Statistics {
  const Folding& s;
  std::vector<double> mu, v, q, centre, spread;
  explicit Statistics(const Folding& s)
      : s(s), mu(s.channels), v(s.channels), q(s.patch * s.channels), centre(s.channels), spread(s.channels) {}

  // S k, [K C]
  template <class T>
  void times(const double* covariance, const T* k, double* out) const {
    const long C = s.channels;
    for (long i = 0; i < s.patch; i++) {
      double* o = out + i * C;
      for (long c = 0; c < C; c++) o[c] = 0;
      for (long j = 0; j < s.patch; j++) {
        const double a = covariance[i * s.patch + j];
#pragma omp simd
        for (long c = 0; c < C; c++) o[c] += a * k[j * C + c];
      }
    }
  }

  // sum over K of a_j b_j, [C]
  template <class A, class B>
  void dot(const A* a, long a_step, const B* b, double* out) const {
    const long C = s.channels;
    for (long c = 0; c < C; c++) out[c] = 0;
    for (long j = 0; j < s.patch; j++)
#pragma omp simd
      for (long c = 0; c < C; c++) out[c] += double(a[j * a_step + (a_step == 1 ? 0 : c)]) * b[j * C + c];
  }

  // a group's mean of its channels, at each of them
  void spread_mean(const double* each, double* out) const {
    for (long g = 0; g < s.channels; g += s.width) {
      double total = 0;
      for (long c = g; c < g + s.width; c++) total += each[c];
      for (long c = g; c < g + s.width; c++) out[c] = total / s.width;
    }
  }

  template <class T>
  void of(const double* mean, const double* covariance, const T* k) {
    times(covariance, k, q.data());
    dot(mean, 1, k, mu.data());
    dot(q.data(), s.channels, k, v.data());
    spread_mean(mu.data(), centre.data());
    std::vector<double> each(s.channels);
    for (long c = 0; c < s.channels; c++) each[c] = v[c] + (mu[c] - centre[c]) * (mu[c] - centre[c]);
    spread_mean(each.data(), spread.data());
  }
};

// w [R K C], b [R C]; the statistics of the groups [R C] in each channel
template <class T>
void fold(const Folding& s, const double* mean, const double* covariance, const T* k, const T* scale, const T* shift,
          T* w, T* b, double* centre, double* spread) {
  const long C = s.channels, K = s.patch;
  Statistics t(s);
  for (long r = 0; r < s.rows; r++) {
    t.of(mean + r * K, covariance + r * K * K, k);
    for (long c = 0; c < C; c++) {
      const long row = r / s.per_row * C + c;
      const double f = scale[row] / std::sqrt(t.spread[c] + s.eps);
      for (long j = 0; j < K; j++) w[(r * K + j) * C + c] = T(f * k[j * C + c]);
      b[r * C + c] = T(shift[row] - t.centre[c] * f);
      centre[r * C + c] = t.centre[c];
      spread[r * C + c] = t.spread[c];
    }
  }
}

// gradients in k [K C], scale and shift, from those in w, b and, where not null, in the groups' statistics [R C], which
// count once for each channel
template <class T>
void fold_backward(const Folding& s, const double* mean, const double* covariance, const T* k, const T* scale,
                   const T* A, const T* a, const double* more_centre, const double* more_spread, T* d_k, T* d_scale,
                   T* d_shift) {
  const long C = s.channels, K = s.patch, rows = s.rows / s.per_row;
  Statistics t(s);
  std::vector<double> Ak(C), d_mu(C), d_v(C), f(C), total(K * C), totals(2 * rows * C);
  for (long r = 0; r < s.rows; r++) {
    t.of(mean + r * K, covariance + r * K * K, k);
    t.dot(A + r * K * C, C, k, Ak.data());
    for (long c = 0; c < C; c++) {
      const long at = r * C + c, row = r / s.per_row * C + c;
      const double rho = 1 / std::sqrt(t.spread[c] + s.eps), d_f = Ak[c] - t.centre[c] * a[at];
      f[c] = scale[row] * rho;
      d_mu[c] = -f[c] * a[at] + (more_centre ? more_centre[at] : 0);
      d_v[c] = -0.5 * rho * rho * rho * scale[row] * d_f + (more_spread ? more_spread[at] : 0);
      totals[row] += rho * d_f;
      totals[rows * C + row] += a[at];
    }
    t.spread_mean(d_mu.data(), d_mu.data());
    t.spread_mean(d_v.data(), d_v.data());
    for (long c = 0; c < C; c++) d_mu[c] += 2 * d_v[c] * (t.mu[c] - t.centre[c]);
    for (long j = 0; j < K; j++)
      for (long c = 0; c < C; c++)
        total[j * C + c] +=
            f[c] * A[(r * K + j) * C + c] + d_mu[c] * mean[r * K + j] + 2 * d_v[c] * t.q[j * C + c];
  }
  for (long i = 0; i < K * C; i++) d_k[i] = T(total[i]);
  for (long i = 0; i < rows * C; i++) d_scale[i] = T(totals[i]), d_shift[i] = T(totals[rows * C + i]);
}

// along h: w' and b', also those of the statistics; and backwards from h . gradients: d_k and d_scale
template <class T>
void fold_twice(const Folding& s, const double* mean, const double* covariance, const T* k, const T* scale, const T* A,
                const T* a, const double* more_spread, const T* h_k, const T* h_scale, const T* h_shift, T* d_w, T* d_b,
                double* d_centre, double* d_spread, T* d_k, T* d_scale) {
  const long C = s.channels, K = s.patch, rows = s.rows / s.per_row;
  Statistics t(s);
  std::vector<double> Ak(C), Ah(C), q(K * C), mu(C), v(C), centre(C), spread(C), each(C), f(C), f_along(C);
  std::vector<double> S_v(C), S_mu(C), S_v_along(C), S_direct(C), total(K * C), totals(rows * C);
  for (long r = 0; r < s.rows; r++) {
    const double *m = mean + r * K, *S = covariance + r * K * K;
    t.of(m, S, k);
    t.dot(A + r * K * C, C, k, Ak.data());
    t.dot(A + r * K * C, C, h_k, Ah.data());
    // along h
    t.times(S, h_k, q.data());
    t.dot(m, 1, h_k, mu.data());
    t.dot(t.q.data(), C, h_k, v.data());
    t.spread_mean(mu.data(), centre.data());
    for (long c = 0; c < C; c++) each[c] = 2 * v[c] + 2 * (t.mu[c] - t.centre[c]) * (mu[c] - centre[c]);
    t.spread_mean(each.data(), spread.data());
    for (long c = 0; c < C; c++) {
      const long at = r * C + c, row = r / s.per_row * C + c;
      const double rho = 1 / std::sqrt(t.spread[c] + s.eps), cube = rho * rho * rho, g = scale[row];
      const double rho_along = -0.5 * cube * spread[c];
      f[c] = g * rho;
      f_along[c] = h_scale[row] * rho + g * rho_along;
      d_b[at] = T(h_shift[row] - centre[c] * f[c] - t.centre[c] * f_along[c]);
      if (d_centre) d_centre[at] = centre[c], d_spread[at] = spread[c];
      // backwards from A . w' + a b' + more . v'
      const double S_f_along = Ak[c] - a[at] * t.centre[c], S_f = Ah[c] - a[at] * centre[c];
      const double S_rho_along = S_f_along * g;
      const double S_rho = S_f_along * h_scale[row] + S_f * g - 1.5 * rho * rho * spread[c] * S_rho_along;
      totals[row] += S_f_along * rho_along + S_f * rho;
      S_mu[c] = -a[at] * f_along[c];
      S_v[c] = -0.5 * cube * S_rho;
      S_v_along[c] = -0.5 * cube * S_rho_along + (more_spread ? more_spread[at] : 0);
    }
    t.spread_mean(S_mu.data(), S_mu.data());
    t.spread_mean(S_v.data(), S_v.data());
    t.spread_mean(S_v_along.data(), S_v_along.data());
    for (long c = 0; c < C; c++)
      S_mu[c] += 2 * S_v[c] * (t.mu[c] - t.centre[c]) + 2 * S_v_along[c] * (mu[c] - centre[c]);
    for (long j = 0; j < K; j++)
      for (long c = 0; c < C; c++) {
        const long at = (r * K + j) * C + c, i = j * C + c;
        d_w[at] = T(f_along[c] * k[i] + f[c] * h_k[i]);
        total[i] += f_along[c] * A[at] + S_mu[c] * m[j] + 2 * S_v[c] * t.q[i] + 2 * S_v_along[c] * q[i];
      }
  }
  for (long i = 0; i < K * C; i++) d_k[i] = T(total[i]);
  for (long i = 0; i < rows * C; i++) d_scale[i] = T(totals[i]);
}

}  // namespace

#define PATCHES(SUFFIX, T)                                                                                             \
  extern "C" void patches_forward_##SUFFIX(const Pooling* s, const T* patches, const T* w, const T* b, T* out,         \
                                           uint8_t* where) {                                                           \
    patches_forward<T>(*s, patches, w, b, out, where);                                                                 \
  }                                                                                                                    \
  extern "C" void patches_at_maxima_##SUFFIX(const Pooling* s, const T* patches, const T* w, const T* b,               \
                                             const uint8_t* where, T* out) {                                           \
    patches_at_maxima<T>(*s, patches, w, b, where, out);                                                               \
  }                                                                                                                    \
  extern "C" void patches_backward_##SUFFIX(const Pooling* s, const T* patches, const uint8_t* where, const T* grad,   \
                                            T* d_w, T* d_b) {                                                          \
    patches_backward<T>(*s, patches, where, grad, d_w, d_b);                                                           \
  }                                                                                                                    \
  extern "C" void patches_cut_##SUFFIX(const Pooling* s, const T* images, T* patches) {                                \
    patches_cut<T>(*s, images, patches);                                                                               \
  }                                                                                                                    \
  extern "C" void patches_moments_##SUFFIX(const Pooling* s, const T* patches, double* mean, double* covariance) {     \
    patches_moments<T>(*s, patches, mean, covariance);                                                                 \
  }

#define FOLDING(SUFFIX, T)                                                                                             \
  extern "C" void fold_##SUFFIX(const Folding* s, const double* mean, const double* covariance, const T* k,            \
                                const T* scale, const T* shift, T* w, T* b, double* centre, double* spread) {          \
    fold<T>(*s, mean, covariance, k, scale, shift, w, b, centre, spread);                                              \
  }                                                                                                                    \
  extern "C" void fold_backward_##SUFFIX(const Folding* s, const double* mean, const double* covariance, const T* k,   \
                                         const T* scale, const T* A, const T* a, const double* more_centre,            \
                                         const double* more_spread, T* d_k, T* d_scale, T* d_shift) {                  \
    fold_backward<T>(*s, mean, covariance, k, scale, A, a, more_centre, more_spread, d_k, d_scale, d_shift);           \
  }                                                                                                                    \
  extern "C" void fold_twice_##SUFFIX(const Folding* s, const double* mean, const double* covariance, const T* k,      \
                                      const T* scale, const T* A, const T* a, const double* more_spread, const T* h_k, \
                                      const T* h_scale, const T* h_shift, T* d_w, T* d_b, double* d_centre,            \
                                      double* d_spread, T* d_k, T* d_scale) {                                          \
    fold_twice<T>(*s, mean, covariance, k, scale, A, a, more_spread, h_k, h_scale, h_shift, d_w, d_b, d_centre,        \
                  d_spread, d_k, d_scale);                                                                             \
  }

PATCHES(float, float)
PATCHES(double, double)
FOLDING(float, float)
FOLDING(double, double)
