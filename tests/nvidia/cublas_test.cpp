#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "check/case.hpp"
#include "check/descs.hpp"
#include "providers/cublas/matmul.hpp"
#include "tests/nvidia/refusals.hpp"

namespace quern::cublas {
namespace {

using check::at_precision;
using check::dense_desc;
using testing::HasSubstr;

constexpr auto kForward = Direction::forward;
constexpr auto kData = Direction::backward_data;
constexpr auto kWeights = Direction::backward_weights;

constexpr std::int64_t kN = 5, kC = 12, kK = 3;

OpDesc dense(Direction direction, DenseAttrs attrs = {}, Precision precision = Precision::fp32) {
  return at_precision(dense_desc(direction, kN, kC, kK, attrs), precision);
}
DenseAttrs with_bias(bool relu = false) {
  DenseAttrs attrs;
  attrs.bias = true;
  attrs.relu = relu;
  return attrs;
}

// The contract's row-major product and cuBLAS's column-major one, both by the definition.
TEST(Matmul, IsTheContractsProductTransposed) {
  std::vector<float> x(kN * kC), w(kK * kC), dy(kN * kK);
  const auto fill = [](std::vector<float>& values, int salt) {
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(static_cast<int>(i * 7 + static_cast<std::size_t>(salt)) % 11 - 5);
  };
  fill(x, 1);
  fill(w, 2);
  fill(dy, 3);
  // op(M)(i, j) of a stored column-major matrix.
  const auto element = [](const std::vector<float>& values, const Matrix& m, std::int64_t i, std::int64_t j) {
    return values[static_cast<std::size_t>(m.transposed ? j + i * m.rows : i + j * m.rows)];
  };
  const auto product = [&](const Matmul& m, const std::vector<float>& a, const std::vector<float>& b) {
    const std::int64_t inner = m.a.transposed ? m.a.rows : m.a.columns;
    EXPECT_EQ(inner, m.b.transposed ? m.b.columns : m.b.rows);
    EXPECT_EQ(m.d.rows, m.a.transposed ? m.a.columns : m.a.rows);
    EXPECT_EQ(m.d.columns, m.b.transposed ? m.b.rows : m.b.columns);
    std::vector<float> d(static_cast<std::size_t>(m.d.rows * m.d.columns));
    for (std::int64_t j = 0; j < m.d.columns; ++j)
      for (std::int64_t i = 0; i < m.d.rows; ++i)
        for (std::int64_t l = 0; l < inner; ++l)
          d[static_cast<std::size_t>(i + j * m.d.rows)] += element(a, m.a, i, l) * element(b, m.b, l, j);
    return d;
  };
  const auto y = product(matmul_of(dense(kForward)), w, x);
  const auto dx = product(matmul_of(dense(kData)), w, dy);
  const auto dw = product(matmul_of(dense(kWeights)), x, dy);
  const auto sum = [](std::int64_t count, const auto& term) {
    float total = 0;
    for (std::int64_t i = 0; i < count; ++i) total += term(static_cast<std::size_t>(i));
    return total;
  };
  const std::size_t c_ = kC, k_ = kK;
  for (std::size_t n = 0; n < kN; ++n)
    for (std::size_t k = 0; k < kK; ++k)
      EXPECT_EQ(y[n * k_ + k], sum(kC, [&](std::size_t c) { return x[n * c_ + c] * w[k * c_ + c]; }));
  for (std::size_t n = 0; n < kN; ++n)
    for (std::size_t c = 0; c < kC; ++c)
      EXPECT_EQ(dx[n * c_ + c], sum(kK, [&](std::size_t k) { return dy[n * k_ + k] * w[k * c_ + c]; }));
  for (std::size_t k = 0; k < kK; ++k)
    for (std::size_t c = 0; c < kC; ++c)
      EXPECT_EQ(dw[k * c_ + c], sum(kN, [&](std::size_t n) { return dy[n * k_ + k] * x[n * c_ + c]; }));
}

TEST(Matmul, BiasReluAndTheBiasesGradientAreEpilogues) {
  DenseAttrs relu_only;
  relu_only.relu = true;
  EXPECT_EQ(matmul_of(dense(kForward)).epilogue, CUBLASLT_EPILOGUE_DEFAULT);
  EXPECT_EQ(matmul_of(dense(kForward, with_bias())).epilogue, CUBLASLT_EPILOGUE_BIAS);
  EXPECT_EQ(matmul_of(dense(kForward, with_bias(true))).epilogue, CUBLASLT_EPILOGUE_RELU_BIAS);
  EXPECT_EQ(matmul_of(dense(kForward, relu_only)).epilogue, CUBLASLT_EPILOGUE_RELU);
  EXPECT_EQ(matmul_of(dense(kData, with_bias(true))).epilogue, CUBLASLT_EPILOGUE_DEFAULT);
  EXPECT_EQ(matmul_of(dense(kWeights)).epilogue, CUBLASLT_EPILOGUE_DEFAULT);
  // B is dy: its sums over the batch, one for each of D's columns.
  EXPECT_EQ(matmul_of(dense(kWeights, with_bias())).epilogue, CUBLASLT_EPILOGUE_BGRADB);
  EXPECT_EQ(matmul_of(dense(kWeights, with_bias())).d.columns, kK);
}

TEST(Matmul, PrecisionIsTheComputeTypeAndTheTypesOfTheFactors) {
  EXPECT_EQ(matmul_of(dense(kForward)).compute, CUBLAS_COMPUTE_32F);
  EXPECT_EQ(matmul_of(dense(kForward, {}, Precision::tf32)).compute, CUBLAS_COMPUTE_32F_FAST_TF32);
  const Matmul forward = matmul_of(dense(kForward, with_bias(), Precision::bf16));
  EXPECT_EQ(forward.compute, CUBLAS_COMPUTE_32F);
  EXPECT_EQ(forward.a.type, CUDA_R_16BF);
  EXPECT_EQ(forward.b.type, CUDA_R_16BF);
  EXPECT_EQ(forward.bias, forward.d.type);
  EXPECT_TRUE(forward.cast_weights);
  EXPECT_EQ(forward.cast_bias, forward.d.type == CUDA_R_16BF);
  const Matmul weights = matmul_of(dense(kWeights, with_bias(), Precision::bf16));
  EXPECT_EQ(weights.a.type, CUDA_R_16BF);
  EXPECT_EQ(weights.b.type, CUDA_R_16BF);
  EXPECT_EQ(weights.d.type, CUDA_R_32F);
  EXPECT_EQ(weights.bias, CUDA_R_32F);
  EXPECT_FALSE(weights.cast_weights || weights.cast_bias);
}

TEST(Matmul, OnlySplitsInAFixedOrderUnlessAllowed) {
  EXPECT_EQ(reduction_schemes(false) & CUBLASLT_REDUCTION_SCHEME_INPLACE, 0u);
  EXPECT_EQ(reduction_schemes(true), static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_MASK));
}

TEST(CublasRefusals, NameWhatIsMissing) {
  Registry registry;
  add_cublas(registry);
  const auto ask = [&](const OpDesc& desc, int sm = 90) { return test::answer(registry, desc, sm); };
  DenseAttrs stats, mask;
  stats.stats = true;
  mask.mask = true;
  EXPECT_EQ(ask(dense(kForward, with_bias(true))), "serves");
  EXPECT_EQ(ask(dense(kData)), "serves");
  EXPECT_EQ(ask(dense(kWeights, with_bias())), "serves");
  EXPECT_THAT(ask(dense(kForward, stats)), HasSubstr("needs stats off"));
  EXPECT_THAT(ask(dense(kData, mask)), HasSubstr("needs mask off"));
  EXPECT_THAT(ask(dense(kForward, {}, Precision::tf32), 75), HasSubstr("needs sm_80 or later for tf32"));
  EXPECT_THAT(ask(dense(kForward, {}, Precision::bf16), 75), HasSubstr("needs sm_80 or later for bf16"));
  EXPECT_EQ(ask(dense(kForward, {}, Precision::bf16)), "serves");
  EXPECT_EQ(ask(dense(kForward), 75), "serves");
}

TEST(CublasLibrary, LoadsWhereItIsInstalled) {
  if (const Refusal missing = library_refusal()) GTEST_SKIP() << *missing;
  EXPECT_STREQ(library().cublasLtGetStatusString(CUBLAS_STATUS_SUCCESS), "success");
}

}  // namespace
}  // namespace quern::cublas
