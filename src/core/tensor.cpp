#include "quern/tensor.hpp"

#include <algorithm>

#include "quern/error.hpp"

namespace quern {

const char* to_string(DType type) noexcept {
  switch (type) {
    case DType::f32:
      return "f32";
    case DType::bf16:
      return "bf16";
    case DType::f64:
      return "f64";
    case DType::i32:
      return "i32";
    case DType::u32:
      return "u32";
    case DType::u8:
      break;
  }
  return "u8";
}

Shape::Shape(std::span<const std::int64_t> extents) : rank_(static_cast<int>(extents.size())) {
  QUERN_REQUIRE(extents.size() <= kMaxRank, "a tensor has at most {} dimensions, got {}", kMaxRank,
                extents.size());
  std::copy(extents.begin(), extents.end(), extents_.begin());
}

std::int64_t Shape::elements() const noexcept {
  std::int64_t product = 1;
  for (const std::int64_t extent : extents()) product *= extent;
  return product;
}

std::string to_string(const Shape& shape) {
  if (shape.rank() == 0) return "scalar";
  return fmt::format("{}", fmt::join(shape.extents(), "x"));
}

std::string to_string(const TensorDesc& desc) {
  return fmt::format("{}[{}]", to_string(desc.dtype), to_string(desc.shape));
}

}  // namespace quern
