// Normalisation, 2x2 max-pool and leaky ReLU of channels-last images in one pass, its derivative and its second one.
//
//   y = act(pool(scale * (x - mean) * rstd + shift)),   act(t) = t > 0 ? t : slope * t
//
// Images lie as [N H W C]. A *cell* is what shares a mean and a variance: `span` images times `width` channels, so
// span = images of a task and width = 1 for batch norm, span = 1 and width = channels of a group for group norm.
// scale and shift are [rows C]; image n takes row n / per_row. With `fixed` statistics (batch norm of query images
// under the support set's) mean and rstd are constants of the cell and nothing flows back through them.
//
// Derivation of the second derivative. Write v for the gradient of the normalised images before pooling, that is the
// incoming gradient put back where the maxima were, u = scale * v, and z = (x - mean) * rstd; <.> is a cell's mean. Then
//   gx = rstd * (u - <u> - z <u z>),  gscale = sum v z,  gshift = sum v.
// The scalar S = sum hx gx + sum hscale gscale + sum hshift gshift has these derivatives:
//   dS/dv     = scale * rstd * (hx - <hx> - z <hx z>) + hscale * z + hshift
//   dS/dscale = sum v * rstd * (hx - <hx> - z <hx z>)
//   dS/dx     = rstd * (e - <e> - z <e z>) - rstd^2 * q * z
//     with e = -rstd * (hx <u z> + u <hx z>) + v * hscale  and  q = <hx u> - <hx><u> - <hx z><u z>.
// The cell's mean and variance are outputs as well; their gradients gmean and gvar add gmean / M + 2 gvar (x - mean) / M
// to gx, M being the size of a cell.
//
// Maxima that differ by less than a convolution's rounding count as equal, and the first of them takes the gradient: in
// flat areas, blank paper above all, the others would take it by chance. The value is that of the true maximum.
//
// Every sum over an image is taken row by row in the images' type and across rows in double; variances are those of
// the deviations from the mean, never a difference of squares.

#include <cmath>
#include <cstdint>
#include <vector>

namespace {

using Doubles = std::vector<double>;

struct Shape {
  long images, height, width_px, channels;  // N H W C
  long span, width;                         // images and channels of a cell
  long per_row;                             // images that share a row of scale and shift
  int pool, fixed, threads;
  double slope, eps;

  long pixels() const { return height * width_px; }
  long size() const { return pixels() * channels; }
  long out_height() const { return pool ? height / 2 : height; }
  long out_width() const { return pool ? width_px / 2 : width_px; }
  long out_size() const { return out_height() * out_width() * channels; }
  long groups() const { return channels / width; }
  double cell_size() const { return double(span) * width * pixels(); }
  long cell(long n, long c) const { return n / span * groups() + c / width; }
};

// Visits the images in three phases: sums(n) for each image of a block of `span`, combine(block), then write(n). Where
// there are blocks enough each thread takes whole ones, whose images are then still in its cache.
template <class Sums, class Combine, class Write>
void in_phases(const Shape& s, Sums sums, Combine combine, Write write) {
  const long blocks = s.images / s.span;
  if (blocks >= s.threads) {
#pragma omp parallel for schedule(static) num_threads(s.threads) if (s.threads > 1)
    for (long b = 0; b < blocks; b++) {
      for (long n = b * s.span; n < (b + 1) * s.span; n++) sums(n);
      combine(b);
      for (long n = b * s.span; n < (b + 1) * s.span; n++) write(n);
    }
    return;
  }
  for (long b = 0; b < blocks; b++) {
#pragma omp parallel for schedule(static) num_threads(s.threads)
    for (long n = b * s.span; n < (b + 1) * s.span; n++) sums(n);
    combine(b);
#pragma omp parallel for schedule(static) num_threads(s.threads)
    for (long n = b * s.span; n < (b + 1) * s.span; n++) write(n);
  }
}

// ---- forward --------------------------------------------------------------------------------------------------------

template <class T>
void moments(const Shape& s, const T* x, double* mean, double* squares) {  // of one image, per channel
  const long C = s.channels;
  std::vector<T> row(C);
  T* r = row.data();
  for (long c = 0; c < C; c++) mean[c] = squares[c] = 0;
  for (long y = 0; y < s.height; y++) {
    for (long c = 0; c < C; c++) r[c] = 0;
    for (long z = 0; z < s.width_px; z++) {
      const T* p = x + (y * s.width_px + z) * C;
#pragma omp simd
      for (long c = 0; c < C; c++) r[c] += p[c];
    }
    for (long c = 0; c < C; c++) mean[c] += r[c];
  }
  std::vector<T> centre(C);
  T* m = centre.data();
  for (long c = 0; c < C; c++) m[c] = T(mean[c] /= s.pixels());
  for (long y = 0; y < s.height; y++) {
    for (long c = 0; c < C; c++) r[c] = 0;
    for (long z = 0; z < s.width_px; z++) {
      const T* p = x + (y * s.width_px + z) * C;
#pragma omp simd
      for (long c = 0; c < C; c++) {
        const T d = p[c] - m[c];
        r[c] += d * d;
      }
    }
    for (long c = 0; c < C; c++) squares[c] += r[c];
  }
  // the deviations were from the rounded mean
  for (long c = 0; c < C; c++) {
    const double off = mean[c] - double(m[c]);
    squares[c] -= s.pixels() * off * off;
    if (squares[c] < 0) squares[c] = 0;
  }
}

// what counts as equal, in standard deviations
template <class T>
constexpr T TIE = sizeof(T) == 4 ? T(1) / (1 << 14) : T(1) / (1L << 40);

template <class T>
void apply(const Shape& s, const T* x, const T* centre, const T* factor, const T* shift, const T* tie, T* out,
           uint8_t* where) {
  const long C = s.channels, W = s.width_px;
  const T slope = T(s.slope);
  const bool linear = s.slope == 1;
  if (!s.pool) {
    for (long p = 0; p < s.pixels(); p++) {
      const T* a = x + p * C;
      T* o = out + p * C;
      uint8_t* k = where + p * C;
#pragma omp simd
      for (long c = 0; c < C; c++) {
        const T t = (a[c] - centre[c]) * factor[c] + shift[c];
        const bool keep = t > 0 || linear;
        o[c] = keep || t != t ? t : t * slope;
        k[c] = keep ? 0 : 4;
      }
    }
    return;
  }
  for (long y = 0; y < s.out_height(); y++)
    for (long z = 0; z < s.out_width(); z++) {
      const T *a = x + (2 * y * W + 2 * z) * C, *b = a + C, *d = a + W * C, *e = d + C;
      const long at = (y * s.out_width() + z) * C;
      T* o = out + at;
      uint8_t* k = where + at;
#pragma omp simd
      for (long c = 0; c < C; c++) {
        const T f = factor[c], h = shift[c], m = centre[c];
        const T t0 = (a[c] - m) * f + h, t1 = (b[c] - m) * f + h, t2 = (d[c] - m) * f + h, t3 = (e[c] - m) * f + h;
        // what is not a number wins, as in torch
        T best = t0;
        best = t1 > best || t1 != t1 ? t1 : best;
        best = t2 > best || t2 != t2 ? t2 : best;
        best = t3 > best || t3 != t3 ? t3 : best;
        const T low = best - tie[c];
        const int q = t0 >= low || t0 != t0 ? 0 : t1 >= low || t1 != t1 ? 1 : t2 >= low || t2 != t2 ? 2 : 3;
        const bool keep = best > 0 || linear;
        o[c] = keep || best != best ? best : best * slope;
        k[c] = uint8_t(keep ? q : q + 4);
      }
    }
}

template <class T>
void forward(const Shape& s, const T* x, const T* scale, const T* shift, const T* size, double* mean, double* rstd,
             double* variance, T* out, uint8_t* where) {
  const long C = s.channels;
  Doubles image_mean(s.fixed ? 0 : s.images * C), squares(s.fixed ? 0 : s.images * C);
  in_phases(
      s,
      [&](long n) {
        if (!s.fixed) moments(s, x + n * s.size(), &image_mean[n * C], &squares[n * C]);
      },
      [&](long b) {
        if (s.fixed) return;
        for (long g = 0; g < s.groups(); g++) {
          double m = 0, v = 0;
          for (long n = b * s.span; n < (b + 1) * s.span; n++)
            for (long c = g * s.width; c < (g + 1) * s.width; c++) m += image_mean[n * C + c];
          m /= double(s.span) * s.width;
          for (long n = b * s.span; n < (b + 1) * s.span; n++)
            for (long c = g * s.width; c < (g + 1) * s.width; c++) {
              const double d = image_mean[n * C + c] - m;
              v += squares[n * C + c] + s.pixels() * d * d;
            }
          v /= s.cell_size();
          const long i = b * s.groups() + g;
          mean[i] = m;
          variance[i] = v;
          rstd[i] = 1 / std::sqrt(v + s.eps);
        }
      },
      [&](long n) {
        std::vector<T> centre(C), factor(C), offset(C), tie(C);
        const long row = n / s.per_row * C;
        for (long c = 0; c < C; c++) {
          const long i = s.cell(n, c);
          centre[c] = T(mean[i]);
          factor[c] = T(scale[row + c] * rstd[i]);
          offset[c] = T(shift[row + c] - (mean[i] - double(centre[c])) * scale[row + c] * rstd[i]);
          tie[c] = TIE<T> * std::abs(size[row + c]);
        }
        apply(s, x + n * s.size(), centre.data(), factor.data(), offset.data(), tie.data(),
              out + n * s.out_size(), where + n * s.out_size());
      });
}

// ---- sums over an image, per channel --------------------------------------------------------------------------------

// the one of four neighbours that position q (0 1 / 2 3) names; all four are read, so that the loops stay vectors
template <class T>
inline T chosen(int q, T a, T b, T d, T e) {
  const T upper = q & 1 ? b : a, lower = q & 1 ? e : d;
  return q & 2 ? lower : upper;
}

// of the gradient at the maxima: sum v, sum v (x - centre), and with h also sum v h
template <class T>
void sums_at_maxima(const Shape& s, const T* x, const T* h, const uint8_t* where, const T* grad, const T* centre,
                    double* v_sum, double* vx_sum, double* vh_sum) {
  const long C = s.channels, W = s.width_px;
  const T slope = T(s.slope);
  std::vector<T> buffer(3 * C);
  T *p = buffer.data(), *q = p + C, *r = q + C;
  for (long c = 0; c < C; c++) v_sum[c] = vx_sum[c] = 0;
  if (h) for (long c = 0; c < C; c++) vh_sum[c] = 0;
  for (long y = 0; y < s.out_height(); y++) {
    for (long c = 0; c < 3 * C; c++) p[c] = 0;
    for (long z = 0; z < s.out_width(); z++) {
      const long at = (y * s.out_width() + z) * C, from = s.pool ? (2 * y * W + 2 * z) * C : at;
      const T* g = grad + at;
      const uint8_t* k = where + at;
      if (!s.pool) {
        const T *a = x + from, *b = h ? h + from : a;
#pragma omp simd
        for (long c = 0; c < C; c++) {
          const T v = k[c] < 4 ? g[c] : g[c] * slope;
          p[c] += v;
          q[c] += v * (a[c] - centre[c]);
          r[c] += v * b[c];
        }
        continue;
      }
      const T *x0 = x + from, *x1 = x0 + C, *x2 = x0 + W * C, *x3 = x2 + C;
      if (!h) {
#pragma omp simd
        for (long c = 0; c < C; c++) {
          const T v = k[c] < 4 ? g[c] : g[c] * slope;
          p[c] += v;
          q[c] += v * (chosen(k[c], x0[c], x1[c], x2[c], x3[c]) - centre[c]);
        }
        continue;
      }
      const T *h0 = h + from, *h1 = h0 + C, *h2 = h0 + W * C, *h3 = h2 + C;
#pragma omp simd
      for (long c = 0; c < C; c++) {
        const T v = k[c] < 4 ? g[c] : g[c] * slope;
        p[c] += v;
        q[c] += v * (chosen(k[c], x0[c], x1[c], x2[c], x3[c]) - centre[c]);
        r[c] += v * chosen(k[c], h0[c], h1[c], h2[c], h3[c]);
      }
    }
    for (long c = 0; c < C; c++) v_sum[c] += p[c], vx_sum[c] += q[c];
    if (h) for (long c = 0; c < C; c++) vh_sum[c] += r[c];
  }
}

template <class T>  // sum h, sum h (x - centre) over all pixels
void sums_everywhere(const Shape& s, const T* x, const T* h, const T* centre, double* h_sum, double* hx_sum) {
  const long C = s.channels;
  std::vector<T> buffer(2 * C);
  T *p = buffer.data(), *q = p + C;
  for (long c = 0; c < C; c++) h_sum[c] = hx_sum[c] = 0;
  for (long y = 0; y < s.height; y++) {
    for (long c = 0; c < 2 * C; c++) p[c] = 0;
    for (long z = 0; z < s.width_px; z++) {
      const T *a = x + (y * s.width_px + z) * C, *b = h + (y * s.width_px + z) * C;
#pragma omp simd
      for (long c = 0; c < C; c++) {
        p[c] += b[c];
        q[c] += b[c] * (a[c] - centre[c]);
      }
    }
    for (long c = 0; c < C; c++) h_sum[c] += p[c], hx_sum[c] += q[c];
  }
}

// ---- what is written back: out = kh h + kx (x - centre) + kc, plus kv v at the maxima ---------------------------------

template <class T>
void write_dense(const Shape& s, const T* x, const T* h, const uint8_t* where, const T* grad, const T* centre,
                 const T* kh, const T* kx, const T* kc, const T* kv, T* out) {
  const long C = s.channels, W = s.width_px;
  const T slope = T(s.slope);
  for (long y = 0; y < s.height; y++)
    for (long z = 0; z < W; z++) {
      const long at = (y * W + z) * C;
      const bool in = !s.pool || (y < 2 * s.out_height() && z < 2 * s.out_width());
      const long from = !s.pool ? at : in ? ((y / 2) * s.out_width() + z / 2) * C : 0;
      const int here = s.pool ? int(y & 1) * 2 + int(z & 1) : 0;
      const T *a = x + at, *g = grad + from, *b = h ? h + at : a;
      const uint8_t* k = where + from;
      T* o = out + at;
      if (!in) {
#pragma omp simd
        for (long c = 0; c < C; c++) o[c] = kh[c] * b[c] + kx[c] * (a[c] - centre[c]) + kc[c];
        continue;
      }
#pragma omp simd
      for (long c = 0; c < C; c++) {
        const T v = k[c] < 4 ? g[c] : g[c] * slope;
        o[c] = kh[c] * b[c] + kx[c] * (a[c] - centre[c]) + kc[c] + ((k[c] & 3) == here ? kv[c] * v : T(0));
      }
    }
}

template <class T>  // at the maxima: out = act' * (kh h + kx (x - centre) + kc)
void write_at_maxima(const Shape& s, const T* x, const T* h, const uint8_t* where, const T* centre, const T* kh,
                     const T* kx, const T* kc, T* out) {
  const long C = s.channels, W = s.width_px;
  const T slope = T(s.slope);
  for (long y = 0; y < s.out_height(); y++)
    for (long z = 0; z < s.out_width(); z++) {
      const long at = (y * s.out_width() + z) * C, from = s.pool ? (2 * y * W + 2 * z) * C : at;
      const uint8_t* k = where + at;
      T* o = out + at;
      const T *x0 = x + from, *h0 = h + from;
      if (!s.pool) {
#pragma omp simd
        for (long c = 0; c < C; c++) {
          const T t = kh[c] * h0[c] + kx[c] * (x0[c] - centre[c]) + kc[c];
          o[c] = k[c] < 4 ? t : t * slope;
        }
        continue;
      }
      const T *x1 = x0 + C, *x2 = x0 + W * C, *x3 = x2 + C, *h1 = h0 + C, *h2 = h0 + W * C, *h3 = h2 + C;
#pragma omp simd
      for (long c = 0; c < C; c++) {
        const T t = kh[c] * chosen(k[c], h0[c], h1[c], h2[c], h3[c]) +
                    kx[c] * (chosen(k[c], x0[c], x1[c], x2[c], x3[c]) - centre[c]) + kc[c];
        o[c] = k[c] < 4 ? t : t * slope;
      }
    }
}

template <class T>
std::vector<T> centres(const Shape& s, const double* mean, long n) {
  std::vector<T> out(s.channels);
  for (long c = 0; c < s.channels; c++) out[c] = T(mean[s.cell(n, c)]);
  return out;
}

template <class T>  // adds up what images say of their row of scale or shift, always in the same order
void add_rows(const Shape& s, const Doubles& each, T* out) {
  const long rows = s.images / s.per_row, C = s.channels;
  for (long r = 0; r < rows; r++)
    for (long c = 0; c < C; c++) {
      double total = 0;
      for (long n = r * s.per_row; n < (r + 1) * s.per_row; n++) total += each[n * C + c];
      out[r * C + c] = T(total);
    }
}

// ---- first derivative -------------------------------------------------------------------------------------------------

template <class T>
void backward(const Shape& s, const T* x, const T* scale, const double* mean, const double* rstd, const uint8_t* where,
              const T* grad, const double* grad_mean, const double* grad_variance, T* grad_x, T* grad_scale,
              T* grad_shift) {
  const long C = s.channels;
  const double M = s.cell_size();
  Doubles v(s.images * C), vz(s.images * C), u_mean(s.images / s.span * s.groups()), uz_mean(u_mean.size());
  in_phases(
      s,
      [&](long n) {
        const std::vector<T> centre = centres<T>(s, mean, n);
        sums_at_maxima<T>(s, x + n * s.size(), nullptr, where + n * s.out_size(), grad + n * s.out_size(),
                          centre.data(), &v[n * C], &vz[n * C], nullptr);
        for (long c = 0; c < C; c++) vz[n * C + c] *= rstd[s.cell(n, c)];
      },
      [&](long b) {
        for (long g = 0; g < s.groups(); g++) {
          double a = 0, d = 0;
          for (long n = b * s.span; n < (b + 1) * s.span; n++)
            for (long c = g * s.width; c < (g + 1) * s.width; c++) {
              const double k = scale[n / s.per_row * C + c];
              a += k * v[n * C + c];
              d += k * vz[n * C + c];
            }
          u_mean[b * s.groups() + g] = s.fixed ? 0 : a / M;
          uz_mean[b * s.groups() + g] = s.fixed ? 0 : d / M;
        }
      },
      [&](long n) {
        if (!grad_x) return;
        std::vector<T> centre = centres<T>(s, mean, n), k(4 * C, T(0));
        T *kh = k.data(), *kx = kh + C, *kc = kx + C, *kv = kc + C;
        for (long c = 0; c < C; c++) {
          const long i = s.cell(n, c);
          kv[c] = T(rstd[i] * scale[n / s.per_row * C + c]);
          kx[c] = T(-rstd[i] * rstd[i] * uz_mean[i] + (grad_variance ? 2 * grad_variance[i] / M : 0));
          kc[c] = T(-rstd[i] * u_mean[i] + (grad_mean ? grad_mean[i] / M : 0));
        }
        write_dense<T>(s, x + n * s.size(), nullptr, where + n * s.out_size(), grad + n * s.out_size(), centre.data(),
                       kh, kx, kc, kv, grad_x + n * s.size());
      });
  add_rows(s, vz, grad_scale);
  add_rows(s, v, grad_shift);
}

// ---- second derivative ------------------------------------------------------------------------------------------------

template <class T>
void backward_twice(const Shape& s, const T* x, const T* scale, const double* mean, const double* rstd,
                    const uint8_t* where, const T* grad, const double* grad_variance, const T* hx, const T* hscale,
                    const T* hshift, T* d_x, T* d_scale, T* d_grad, double* d_mean, double* d_variance) {
  const long C = s.channels, cells = s.images / s.span * s.groups();
  const double M = s.cell_size();
  Doubles v(s.images * C), vz(s.images * C), vh(s.images * C), h(s.images * C), hz(s.images * C), rows(s.images * C);
  Doubles h_mean(cells), hz_mean(cells), u_mean(cells), uz_mean(cells), e_mean(cells), ez_mean(cells), q(cells);
  in_phases(
      s,
      [&](long n) {
        const std::vector<T> centre = centres<T>(s, mean, n);
        const T *xn = x + n * s.size(), *hn = hx + n * s.size();
        sums_at_maxima<T>(s, xn, hn, where + n * s.out_size(), grad + n * s.out_size(), centre.data(), &v[n * C],
                          &vz[n * C], &vh[n * C]);
        if (!s.fixed) sums_everywhere<T>(s, xn, hn, centre.data(), &h[n * C], &hz[n * C]);
        for (long c = 0; c < C; c++) {
          vz[n * C + c] *= rstd[s.cell(n, c)];
          hz[n * C + c] *= rstd[s.cell(n, c)];
        }
      },
      [&](long b) {
        for (long g = 0; g < s.groups(); g++) {
          const long i = b * s.groups() + g;
          double uh = 0, sv = 0, svz = 0;
          for (long n = b * s.span; !s.fixed && n < (b + 1) * s.span; n++)
            for (long c = g * s.width; c < (g + 1) * s.width; c++) {
              const long at = n * C + c, row = n / s.per_row * C + c;
              h_mean[i] += h[at] / M;
              hz_mean[i] += hz[at] / M;
              u_mean[i] += scale[row] * v[at] / M;
              uz_mean[i] += scale[row] * vz[at] / M;
              uh += scale[row] * vh[at] / M;
              sv += hscale[row] * v[at] / M;
              svz += hscale[row] * vz[at] / M;
            }
          q[i] = uh - h_mean[i] * u_mean[i] - hz_mean[i] * uz_mean[i];
          e_mean[i] = -rstd[i] * (h_mean[i] * uz_mean[i] + u_mean[i] * hz_mean[i]) + sv;
          ez_mean[i] = -2 * rstd[i] * hz_mean[i] * uz_mean[i] + svz;
          if (d_mean) d_mean[i] = h_mean[i];
          if (d_variance) d_variance[i] = 2 * hz_mean[i] / rstd[i];
        }
      },
      [&](long n) {
        std::vector<T> centre = centres<T>(s, mean, n), k(7 * C);
        T *kh = k.data(), *kx = kh + C, *kc = kx + C, *kv = kc + C, *oh = kv + C, *ox = oh + C, *oc = ox + C;
        for (long c = 0; c < C; c++) {
          const long i = s.cell(n, c), row = n / s.per_row * C + c, at = n * C + c;
          const double r = rstd[i], a = scale[row], more = grad_variance ? 2 * grad_variance[i] / M : 0;
          kh[c] = T(-r * r * uz_mean[i] + more);
          kv[c] = T(r * (hscale[row] - r * a * hz_mean[i]));
          kx[c] = T(s.fixed ? 0 : -r * r * (ez_mean[i] + r * q[i]));
          kc[c] = T(s.fixed ? 0 : -r * e_mean[i] - more * h_mean[i]);
          oh[c] = T(a * r);
          ox[c] = T(r * (hscale[row] - a * r * hz_mean[i]));
          oc[c] = T(hshift[row] - a * r * h_mean[i]);
          rows[at] = r * (vh[at] - h_mean[i] * v[at] - hz_mean[i] * vz[at]);
        }
        const T *xn = x + n * s.size(), *hn = hx + n * s.size();
        const uint8_t* w = where + n * s.out_size();
        if (d_x)
          write_dense<T>(s, xn, hn, w, grad + n * s.out_size(), centre.data(), kh, kx, kc, kv, d_x + n * s.size());
        if (d_grad) write_at_maxima<T>(s, xn, hn, w, centre.data(), oh, ox, oc, d_grad + n * s.out_size());
      });
  add_rows(s, rows, d_scale);
}

}  // namespace

#define INTERFACE(SUFFIX, T)                                                                                           \
  extern "C" void forward_##SUFFIX(const Shape* s, const T* x, const T* scale, const T* shift, const T* size,          \
                                   double* mean, double* rstd, double* variance, T* out, uint8_t* where) {             \
    forward<T>(*s, x, scale, shift, size, mean, rstd, variance, out, where);                                           \
  }                                                                                                                    \
  extern "C" void backward_##SUFFIX(const Shape* s, const T* x, const T* scale, const double* mean,                    \
                                    const double* rstd, const uint8_t* where, const T* grad, const double* grad_mean,  \
                                    const double* grad_variance, T* grad_x, T* grad_scale, T* grad_shift) {            \
    backward<T>(*s, x, scale, mean, rstd, where, grad, grad_mean, grad_variance, grad_x, grad_scale, grad_shift);      \
  }                                                                                                                    \
  extern "C" void backward_twice_##SUFFIX(                                                                             \
      const Shape* s, const T* x, const T* scale, const double* mean, const double* rstd, const uint8_t* where,        \
      const T* grad, const double* grad_variance, const T* hx, const T* hscale, const T* hshift, T* d_x, T* d_scale,   \
      T* d_grad, double* d_mean, double* d_variance) {                                                                 \
    backward_twice<T>(*s, x, scale, mean, rstd, where, grad, grad_variance, hx, hscale, hshift, d_x, d_scale, d_grad,  \
                      d_mean, d_variance);                                                                             \
  }

INTERFACE(float, float)
INTERFACE(double, double)
