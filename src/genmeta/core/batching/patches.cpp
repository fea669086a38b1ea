// Convolution as a product of patches and kernels, 2x2 max-pool and leaky ReLU in one pass, and its derivatives.
//
//   y = act(pool(P w + b)),   act(t) = t > 0 ? t : slope * t
//
// P holds the patches of every pixel, [N H W K]; w [rows K C] and b [rows C] are those of an image's row, n / per_row. What
// is not pooled never reaches memory. The operation is linear between its kinks, so its derivatives are the two linear
// maps that the places of the maxima make: the gradient's sums with the patches there, and the products there.
// K is a multiple of 9 and C one of a vector's numbers.

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

// mean and covariance of the patches of every image, in double: [N K] and [N K K]; rows of pixels are summed up in T
template <class T>
void patches_moments(const Pooling& s, const T* patches, double* mean, double* covariance) {
  const long K = s.patch, pixels = s.height * s.width;
#pragma omp parallel for schedule(static) num_threads(s.threads) if (s.threads > 1)
  for (long n = 0; n < s.images; n++) {
    const T* p = patches + n * pixels * K;
    double *m = mean + n * K, *v = covariance + n * K * K;
    std::vector<T> row(K * K), centre(K), off(K);
    std::vector<double> rest(K);
    T *r = row.data(), *d = off.data();
    for (long i = 0; i < K; i++) m[i] = 0;
    for (long i = 0; i < K * K; i++) v[i] = 0;
    for (long i = 0; i < pixels; i++)
      for (long j = 0; j < K; j++) m[j] += p[i * K + j];
    for (long j = 0; j < K; j++) centre[j] = T(m[j] /= pixels);
    for (long y = 0; y < s.height; y++) {
      for (long i = 0; i < K * K; i++) r[i] = 0;
      for (long x = 0; x < s.width; x++) {
        const T* here = p + (y * s.width + x) * K;
        for (long j = 0; j < K; j++) d[j] = here[j] - centre[j];
        for (long i = 0; i < K; i++)
#pragma omp simd
          for (long j = 0; j < K; j++) r[i * K + j] += d[i] * d[j];
      }
      for (long i = 0; i < K * K; i++) v[i] += r[i];
    }
    // the deviations were from the rounded mean
    for (long j = 0; j < K; j++) rest[j] = m[j] - double(centre[j]);
    for (long i = 0; i < K; i++)
      for (long j = 0; j < K; j++) v[i * K + j] = v[i * K + j] / pixels - rest[i] * rest[j];
  }
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
  extern "C" void patches_moments_##SUFFIX(const Pooling* s, const T* patches, double* mean, double* covariance) {     \
    patches_moments<T>(*s, patches, mean, covariance);                                                                 \
  }

PATCHES(float, float)
PATCHES(double, double)
