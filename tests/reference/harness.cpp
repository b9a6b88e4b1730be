#include "harness.hpp"

#include <omp.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>

#include "ops/slots.hpp"
#include "providers/reference/reference.hpp"
#include "providers/reference/view.hpp"
#include "quern/error.hpp"
#include "quern/philox.hpp"

namespace quern::testing {

namespace {

constexpr std::size_t kGuard = 64;
constexpr std::uint8_t kGuardByte = 0xA7;

/// The tensors here are too small to be worth waking a team of threads for.
class OneThread : public ::testing::Environment {
 public:
  void SetUp() override { omp_set_num_threads(1); }
};
[[maybe_unused]] const auto* const kOneThread = ::testing::AddGlobalTestEnvironment(new OneThread);

template <class T>
void put(std::uint8_t* to, double value) {
  const T converted = static_cast<T>(value);
  std::memcpy(to, &converted, sizeof(T));
}
template <class T>
double take(const std::uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return static_cast<double>(value);
}

}  // namespace

Call::Call(const OpDesc& desc, Storage storage, std::uint8_t poison) : desc_(desc), storage_(storage) {
  const SlotLists slots = slots_of(desc);
  QUERN_REQUIRE(slots.inputs.size() == desc.inputs.size() && slots.outputs.size() == desc.outputs.size(),
                "operand count");
  for (std::size_t i = 0; i < slots.inputs.size(); ++i) {
    const std::size_t bytes =
        static_cast<std::size_t>(desc.inputs[i].elements()) * element_size(desc.inputs[i].dtype);
    in_.push_back(operands_.size());
    operands_.push_back({slots.inputs[i].name, desc.inputs[i], bytes, true, false, {}});
  }
  for (std::size_t i = 0; i < slots.outputs.size(); ++i) {
    const std::size_t bytes =
        static_cast<std::size_t>(desc.outputs[i].elements()) * element_size(desc.outputs[i].dtype);
    const auto same = std::find_if(operands_.begin(), operands_.end(),
                                   [&](const Operand& o) { return o.name == slots.outputs[i].name; });
    out_.push_back(static_cast<std::size_t>(same - operands_.begin()));
    if (same != operands_.end())
      same->output = true;
    else
      operands_.push_back({slots.outputs[i].name, desc.outputs[i], bytes, false, true, {}});
  }
  for (Operand& operand : operands_) {
    operand.data.assign(operand.bytes + kGuard, operand.input ? 0 : poison);
    std::fill(operand.data.end() - kGuard, operand.data.end(), kGuardByte);
  }
}

std::size_t Call::element_size(DType type) const {
  return type == DType::f32 && storage_ == Storage::full ? sizeof(double) : size_of(type);
}

Call::Operand& Call::find(std::string_view slot) {
  for (Operand& operand : operands_)
    if (operand.name == slot) return operand;
  fail_input("no slot {}", slot);
}
const Call::Operand& Call::find(std::string_view slot) const {
  return const_cast<Call*>(this)->find(slot);
}

Call& Call::set(std::string_view slot, const Values& values) {
  Operand& operand = find(slot);
  QUERN_REQUIRE(operand.input && static_cast<std::int64_t>(values.size()) == operand.tensor.elements(),
                "{}: {} values for {}", slot, values.size(), to_string(operand.tensor));
  const std::size_t size = element_size(operand.tensor.dtype);
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint8_t* const to = operand.data.data() + i * size;
    switch (operand.tensor.dtype) {
      case DType::f32:
        size == sizeof(double) ? put<double>(to, values[i]) : put<float>(to, values[i]);
        break;
      case DType::bf16: {
        const std::uint16_t bits = reference::to_bf16(values[i]);
        std::memcpy(to, &bits, sizeof(bits));
        break;
      }
      case DType::f64:
        put<double>(to, values[i]);
        break;
      case DType::i32:
        put<std::int32_t>(to, values[i]);
        break;
      case DType::u32:
        put<std::uint32_t>(to, values[i]);
        break;
      case DType::u8:
        put<std::uint8_t>(to, values[i]);
        break;
    }
  }
  return *this;
}

Call& Call::set_step(const StepScalars& step) {
  std::memcpy(find("step").data.data(), &step, sizeof(step));
  return *this;
}

Values Call::get(std::string_view slot) const {
  const Operand& operand = find(slot);
  const std::size_t size = element_size(operand.tensor.dtype);
  Values values;
  for (std::size_t at = 0; at < operand.bytes; at += size) {
    const std::uint8_t* const from = operand.data.data() + at;
    switch (operand.tensor.dtype) {
      case DType::f32:
        values.push_back(size == sizeof(double) ? take<double>(from) : take<float>(from));
        break;
      case DType::bf16: {
        std::uint16_t bits = 0;
        std::memcpy(&bits, from, sizeof(bits));
        values.push_back(reference::from_bf16(bits));
        break;
      }
      case DType::f64:
        values.push_back(take<double>(from));
        break;
      case DType::i32:
        values.push_back(take<std::int32_t>(from));
        break;
      case DType::u32:
        values.push_back(take<std::uint32_t>(from));
        break;
      case DType::u8:
        values.push_back(take<std::uint8_t>(from));
        break;
    }
  }
  return values;
}

std::vector<std::uint8_t> Call::output_bytes() const {
  std::vector<std::uint8_t> bytes;
  for (const std::size_t i : out_)
    bytes.insert(bytes.end(), operands_[i].data.begin(), operands_[i].data.end() - kGuard);
  return bytes;
}

Call& Call::run() {
  validate(desc_);
  std::vector<void*> in, out;
  for (const std::size_t i : in_) in.push_back(operands_[i].data.data());
  for (const std::size_t i : out_) out.push_back(operands_[i].data.data());
  const RunArgs args{in, out, nullptr, {}};
  if (storage_ == Storage::full)
    reference::run<double>(desc_, args);
  else
    reference::run<float>(desc_, args);
  for (const Operand& operand : operands_)
    EXPECT_TRUE(std::all_of(operand.data.end() - kGuard, operand.data.end(),
                            [](std::uint8_t byte) { return byte == kGuardByte; }))
        << describe(desc_) << ": wrote past the end of " << operand.name;
  return *this;
}

Values random_values(std::int64_t count, std::uint64_t seed, double low, double high) {
  Values values;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint32_t bits = philox_u32(seed, RandomPurpose::test, 0, 0, static_cast<std::uint64_t>(i));
    values.push_back(low + (high - low) * static_cast<double>(uniform_from_u32(bits)));
  }
  return values;
}

Values distinct_values(std::int64_t count, std::uint64_t seed) {
  // Sorted by random keys, the positions are a shuffle.
  const Values keys = random_values(count, seed);
  std::vector<std::size_t> order(keys.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return keys[a] < keys[b]; });
  Values values(keys.size());
  for (std::size_t i = 0; i < order.size(); ++i)
    values[order[i]] = 0.2 * (static_cast<double>(i) - std::floor(static_cast<double>(count) / 2)) + 0.15;
  return values;
}

double dot(const Values& a, const Values& b) {
  QUERN_REQUIRE(a.size() == b.size(), "dot of {} and {} values", a.size(), b.size());
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

Values rectified(Values values) {
  for (double& value : values) value = std::max(value, 0.0);
  return values;
}

Values masked(Values gradient, const Values& at) {
  QUERN_REQUIRE(gradient.size() == at.size(), "mask of {} for {} values", at.size(), gradient.size());
  for (std::size_t i = 0; i < at.size(); ++i)
    if (!(at[i] > 0)) gradient[i] = 0;
  return gradient;
}

Values numeric_gradient(const Values& x, const std::function<double(const Values&)>& f, double step) {
  Values gradient;
  Values moved = x;
  for (std::size_t i = 0; i < x.size(); ++i) {
    moved[i] = x[i] + step;
    const double above = f(moved);
    moved[i] = x[i] - step;
    const double below = f(moved);
    moved[i] = x[i];
    gradient.push_back((above - below) / (2 * step));
  }
  return gradient;
}

Padded padded(const Shape& shape, const Values& image, const Window& window, double border) {
  Padded out{{shape[0], shape[1] + window.pad_top + window.pad_bottom,
              shape[2] + window.pad_left + window.pad_right, shape[3]},
             {}};
  auto next = image.begin();
  for_each_output(out.shape, [&](std::int64_t, std::int64_t h, std::int64_t w, std::int64_t) {
    const bool inside = h >= window.pad_top && h < window.pad_top + shape[1] && w >= window.pad_left &&
                        w < window.pad_left + shape[2];
    out.values.push_back(inside ? *next++ : border);
  });
  return out;
}

void expect_near(const Values& actual, const Values& expected, double tolerance, std::string_view what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  for (std::size_t i = 0; i < actual.size(); ++i)
    ASSERT_LE(std::abs(actual[i] - expected[i]), tolerance * (1 + std::abs(expected[i])))
        << what << " element " << i << ": " << actual[i] << ", expected " << expected[i];
}

}  // namespace quern::testing
