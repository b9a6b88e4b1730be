#include "kernels/dense.cuh"
#include "tests/kernels/products.hpp"

namespace quern::test {
namespace {

class Dense : public ProductTest {
 protected:
  bool thorough() const { return GetParam() != Target::race; }

  std::vector<Conv2dShape> shapes() const {
    std::vector<Conv2dShape> result{kernels::dense_shape(5, 24, 16), kernels::dense_shape(3, 7, 10)};
    if (!thorough()) return result;
    for (const auto& [n, c, k] : std::vector<std::array<int, 3>>{{1, 1, 1},
                                                                 {64, 128, 10},
                                                                 {8, 784, 32},
                                                                 {33, 31, 65},
                                                                 {129, 8, 8},
                                                                 {2, 400, 120},
                                                                 {63, 64, 65},
                                                                 {1, 9, 1},
                                                                 {7, 120, 84}})
      result.push_back(kernels::dense_shape(n, c, k));
    return result;
  }
};

TEST_P(Dense, IsExactOnIntegersInEveryFormat) {
  for (const auto& shape : shapes())
    for (const Variant& variant : {fp32(), tf32(), bf16()}) {
      check_all_plans(variant, shape, true);
      if (HasFatalFailure()) return;
    }
}

TEST_P(Dense, GeneralIsExactOnIntegers) {
  for (const auto& shape : shapes())
    for (const bool bf16_activations : {false, true})
      check(general(bf16_activations), Convolution(shape, true, bf16_activations), {}, {}, {}, true, true);
}

TEST_P(Dense, RandomOperandsStayWithinTheFormatsError) {
  const auto shape = thorough() ? kernels::dense_shape(20, 520, 48) : kernels::dense_shape(4, 72, 8);
  for (const Variant& variant : {fp32(), tf32(), bf16()}) check_all_plans(variant, shape, false);
}

QUERN_FOR_ALL_TARGETS(Dense);

}  // namespace
}  // namespace quern::test
