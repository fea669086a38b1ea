// Vectors of the processor's width, and memory for them; what the hand-written loops of the kernels share.

#pragma once

#include <cstdint>
#include <cstdlib>

namespace {

#if defined(__AVX512F__)
constexpr int BYTES = 64;
#elif defined(__AVX__)
constexpr int BYTES = 32;
#else
constexpr int BYTES = 16;
#endif

template <class T>
struct Vec {
  static constexpr int lanes = BYTES / sizeof(T);
  typedef T type __attribute__((vector_size(BYTES)));
  typedef T loose __attribute__((vector_size(BYTES), aligned(sizeof(T)), may_alias));
  typedef uint8_t bytes __attribute__((vector_size(lanes), aligned(1), may_alias));
  static type load(const T* p) { return *reinterpret_cast<const loose*>(p); }
  static void store(T* p, type v) { *reinterpret_cast<loose*>(p) = v; }
};

// room for numbers that are all written before they are read
template <class T>
struct Room {
  T* at;
  explicit Room(long count) : at(static_cast<T*>(std::aligned_alloc(64, (count * sizeof(T) + 63) / 64 * 64))) {}
  Room(const Room&) = delete;
  ~Room() { std::free(at); }
};

}  // namespace
