// Element-wise operations: ReLU, add, dropout, moving averages and the optimizers.

#include "providers/onednn/isa/table.hpp"
#include "providers/onednn/isa/vec.hpp"
#include "quern/philox.hpp"  // constants alone: its inline functions must not be compiled here (see vec.hpp)

namespace quern::onednn::QUERN_ISA {

void relu(const Elementwise& a) {
  std::int64_t i = 0;
  for (; i + kLanes <= a.n; i += kLanes) store(a.out + i, rectify(load(a.a + i)));
  if (const int rest = static_cast<int>(a.n - i); rest > 0)
    store_first(a.out + i, rectify(load_first(a.a + i, rest)), rest);
}

void relu_backward(const Elementwise& a) {
  std::int64_t i = 0;
  for (; i + kLanes <= a.n; i += kLanes) store(a.out + i, gate_positive(load(a.a + i), load(a.b + i)));
  if (const int rest = static_cast<int>(a.n - i); rest > 0)
    store_first(a.out + i, gate_positive(load_first(a.a + i, rest), load_first(a.b + i, rest)), rest);
}

void add(const Elementwise& a) {
  std::int64_t i = 0;
  for (; i + kLanes <= a.n; i += kLanes) {
    const Vec y = load(a.a + i) + load(a.b + i);
    store(a.out + i, a.relu ? rectify(y) : y);
  }
  if (const int rest = static_cast<int>(a.n - i); rest > 0) {
    const Vec y = load_first(a.a + i, rest) + load_first(a.b + i, rest);
    store_first(a.out + i, a.relu ? rectify(y) : y, rest);
  }
}

void dropout(const Dropout& a) {
  // Philox4x32-10 for kBlocks counters at a time, in the lanes of vectors; quern/philox.hpp is the
  // definition.
  constexpr int kBlocks = 64;
  uint32_t bits[4 * kBlocks];
  const uint32_t tag = (static_cast<uint32_t>(RandomPurpose::dropout) << 24) | (a.stream & 0xFFFFFFu);
  const auto seed0 = static_cast<uint32_t>(a.seed), seed1 = static_cast<uint32_t>(a.seed >> 32);
  for (std::int64_t base = 0; base < a.n; base += 4 * kBlocks) {
    const std::uint64_t first_block = static_cast<std::uint64_t>(a.begin + base) / 4;
    uint32_t words[4][kBlocks];
#pragma omp simd
    for (int b = 0; b < kBlocks; ++b) {
      const std::uint64_t block = first_block + static_cast<std::uint64_t>(b);
      uint32_t x = static_cast<uint32_t>(block), y = static_cast<uint32_t>(block >> 32), z = a.step, w = tag;
      uint32_t key0 = seed0, key1 = seed1;
      QUERN_UNROLL
      for (int round = 0; round < 10; ++round) {
        const std::uint64_t product0 = std::uint64_t{0xD2511F53u} * x;
        const std::uint64_t product1 = std::uint64_t{0xCD9E8D57u} * z;
        x = static_cast<uint32_t>(product1 >> 32) ^ y ^ key0;
        y = static_cast<uint32_t>(product1);
        z = static_cast<uint32_t>(product0 >> 32) ^ w ^ key1;
        w = static_cast<uint32_t>(product0);
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
      }
      words[0][b] = x;
      words[1][b] = y;
      words[2][b] = z;
      words[3][b] = w;
    }
    for (int b = 0; b < kBlocks; ++b)
      for (int lane = 0; lane < 4; ++lane) bits[4 * b + lane] = words[lane][b];
    const std::int64_t left = a.n - base;
    const int n = left < 4 * kBlocks ? static_cast<int>(left) : 4 * kBlocks;
    const float* x = a.x + base;
    float* y = a.y + base;
    for (int i = 0; i < n; ++i) {
      // 24 bits are exact in a float, and so is the uniform number made of them.
      const float uniform = static_cast<float>(static_cast<int32_t>(bits[i] >> 8)) * (1.0f / 16777216.0f);
      const float kept = x[i] * a.scale;
      y[i] = uniform >= a.probability ? kept : 0.0f;
    }
  }
}

namespace {

/// Calls step(load, store, i) for whole vectors, then once for the rest.
template <class Step>
QUERN_INLINE void for_each_element(std::int64_t n, const Step& step) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    step([](const float* p) QUERN_INLINE_LAMBDA { return load(p); },
         [](float* p, Vec v) QUERN_INLINE_LAMBDA { store(p, v); }, i);
  if (const int rest = static_cast<int>(n - i); rest > 0)
    step([rest](const float* p) QUERN_INLINE_LAMBDA { return load_first(p, rest); },
         [rest](float* p, Vec v) QUERN_INLINE_LAMBDA { store_first(p, v, rest); }, i);
}

QUERN_INLINE Vec square_root(Vec v) {
#if defined(__AVX512F__)
  return (Vec)_mm512_sqrt_ps((__m512)v);
#elif defined(__AVX__)
  return (Vec)_mm256_sqrt_ps((__m256)v);
#else
  for (int i = 0; i < kLanes; ++i) v[i] = __builtin_sqrtf(v[i]);
  return v;
#endif
}

}  // namespace

void average(const Average& a) {
  const float rest = 1.0f - a.decay;
  for_each_element(a.n, [&](auto read, auto write, std::int64_t i) QUERN_INLINE_LAMBDA {
    write(a.average + i, a.decay * read(a.average + i) + rest * read(a.values + i));
  });
}

void update_sgd(const Update& a) {
  for_each_element(a.n, [&](auto read, auto write, std::int64_t i) QUERN_INLINE_LAMBDA {
    const Vec p = read(a.params + i);
    write(a.params + i, p - a.learning_rate * (a.grad_scale * read(a.grads + i) + a.decay * p));
  });
}

void update_momentum(const Update& a) {
  for_each_element(a.n, [&](auto read, auto write, std::int64_t i) QUERN_INLINE_LAMBDA {
    const Vec p = read(a.params + i);
    const Vec v = a.momentum * read(a.slot1 + i) + (a.grad_scale * read(a.grads + i) + a.decay * p);
    write(a.slot1 + i, v);
    write(a.params + i, p - a.learning_rate * v);
  });
}

void update_nesterov(const Update& a) {
  for_each_element(a.n, [&](auto read, auto write, std::int64_t i) QUERN_INLINE_LAMBDA {
    const Vec p = read(a.params + i);
    const Vec g = a.grad_scale * read(a.grads + i) + a.decay * p;
    const Vec v = a.momentum * read(a.slot1 + i) + g;
    write(a.slot1 + i, v);
    write(a.params + i, p - a.learning_rate * (g + a.momentum * v));
  });
}

void update_adam(const Update& a) {
  const float rest1 = 1.0f - a.beta1, rest2 = 1.0f - a.beta2;
  for_each_element(a.n, [&](auto read, auto write, std::int64_t i) QUERN_INLINE_LAMBDA {
    Vec p = read(a.params + i);
    const Vec g = a.grad_scale * read(a.grads + i) + a.decay * p;
    const Vec m = a.beta1 * read(a.slot1 + i) + rest1 * g;
    const Vec v = a.beta2 * read(a.slot2 + i) + rest2 * (g * g);
    write(a.slot1 + i, m);
    write(a.slot2 + i, v);
    p -= a.decoupled_decay * p;
    write(a.params + i, p - a.learning_rate * (m / (square_root(v) + a.epsilon)));
  });
}

double sum_of_squares(const float* x, std::int64_t n) {
  DoubleVec sum{};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const DoubleVec d = __builtin_convertvector(load(x + i), DoubleVec);
    sum += d * d;
  }
  double total = 0;
  for (int lane = 0; lane < kLanes; ++lane) total += sum[lane];
  for (; i < n; ++i) total += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return total;
}

}  // namespace quern::onednn::QUERN_ISA
