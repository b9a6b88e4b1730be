#include "check/fill.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "check/descs.hpp"
#include "ops/slots.hpp"
#include "quern/error.hpp"
#include "quern/philox.hpp"

namespace quern::check {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Streams of helper draws, apart from those of the slots (which are numbered from 0).
enum HelperStream : std::uint32_t {
  kBetaStream = 32,
  kMeanStream,
  kVarianceStream,
  kPoolInputStream,
  kChoiceStream
};

/// Fills the inputs of one case, slot by slot.
class Filler {
 public:
  Filler(const Case& c, Tier tier, Precision precision, const Oracle& oracle)
      : case_(c),
        tier_(tier),
        precision_(precision),
        oracle_(oracle),
        seed_(hash_name(c.name)),
        slots_(slots_of(c.desc).inputs) {
    for (const TensorDesc& desc : c.desc.inputs) inputs_.emplace_back(desc);
  }

  Operands fill() {
    switch (case_.desc.op.kind) {
      case OpKind::input_batch:
        input_batch();
        break;
      case OpKind::conv2d:
      case OpKind::dense:
        matrix_product();
        break;
      case OpKind::batchnorm:
        batchnorm();
        break;
      case OpKind::relu:
        relu();
        break;
      case OpKind::maxpool2d:
        maxpool();
        break;
      case OpKind::softmax_xent:
        softmax_xent();
        break;
      case OpKind::metrics:
        metrics();
        break;
      case OpKind::guard:
        guard();
        break;
      case OpKind::optimizer:
        optimizer();
        break;
      case OpKind::ema:
        ema();
        break;
      default:
        numbers();
        break;
    }
    return std::move(inputs_);
  }

 private:
  // --- draws ---

  std::uint32_t bits(std::uint32_t stream, std::uint64_t element) const {
    const std::uint32_t tier = tier_ == Tier::exact ? 0x10000u : 0;
    return philox_u32(seed_, RandomPurpose::test, stream + tier, 0, element);
  }
  float uniform(std::uint32_t stream, std::uint64_t element) const {
    return uniform_from_u32(bits(stream, element));
  }
  std::uint32_t below(std::uint32_t stream, std::uint64_t element, std::uint64_t limit) const {
    return static_cast<std::uint32_t>((bits(stream, element) * limit) >> 32);
  }
  /// The tier's usual number: an integer in [-3, 3], or uniform in [-1, 1).
  float number(std::uint32_t stream, std::uint64_t element) const {
    if (tier_ == Tier::exact) return static_cast<float>(below(stream, element, 7)) - 3;
    return 2 * uniform(stream, element) - 1;
  }

  // --- slots ---

  bool has(std::string_view name) const { return find(name) >= 0; }
  int find(std::string_view name) const {
    for (std::size_t i = 0; i < slots_.size(); ++i)
      if (slots_[i].name == name) return static_cast<int>(i);
    return -1;
  }
  std::uint32_t stream(std::string_view name) const {
    const int found = find(name);
    QUERN_REQUIRE(found >= 0, "{} has no input {}", case_.name, name);
    return static_cast<std::uint32_t>(found);
  }
  HostTensor& slot(std::string_view name) { return inputs_[stream(name)]; }

  /// Rounds a value the way it will be stored for the candidate.
  float stored(std::uint32_t index, float value) const {
    const bool rounded = precision_ == Precision::bf16 && slots_[index].type == SlotType::activation;
    return rounded ? from_bf16(to_bf16(value)) : value;
  }
  template <class F>
  void each(std::string_view name, F value) {
    const std::uint32_t index = stream(name);
    const std::span<float> elements = inputs_[index].as<float>();
    for (std::size_t i = 0; i < elements.size(); ++i) elements[i] = stored(index, value(index, i));
  }
  /// Copies what the reference computed into a slot.
  void derive(std::string_view name, const HostTensor& source) {
    const std::uint32_t index = stream(name);
    QUERN_REQUIRE(inputs_[index].desc == source.desc, "{}: {} is {}, its source {}", case_.name, name,
                  quern::to_string(inputs_[index].desc), quern::to_string(source.desc));
    inputs_[index] = source;
    if (source.desc.dtype == DType::f32)
      for (float& element : inputs_[index].as<float>()) element = stored(index, element);
  }
  void plain(std::string_view name) {
    each(name, [this](std::uint32_t s, std::size_t i) { return number(s, i); });
  }
  /// A ReLU's result: about half zeros.
  void rectified(std::string_view name) {
    each(name, [this](std::uint32_t s, std::size_t i) { return std::max(number(s, i), 0.0f); });
  }

  /// Where the node advances, `scalars` are an entry of the table: any one, the last included.
  void step(StepScalars scalars) {
    if (has("steps")) {
      const std::span<StepScalars> table = slot("steps").as<StepScalars>();
      scalars.index = below(kChoiceStream, 5, table.size());
      for (std::uint32_t i = 0; i < table.size(); ++i) {
        StepScalars& entry = table[i] = scalars;
        entry.index = i;
        entry.step = scalars.step + i - scalars.index;
        entry.order_offset = 16 * i;
        entry.learning_rate = uniform(stream("steps"), i);
      }
    }
    std::memcpy(slot("step").bytes.data(), &scalars, sizeof(scalars));
  }
  StepScalars random_step() const {
    StepScalars scalars;
    scalars.seed = (std::uint64_t{bits(kChoiceStream, 0)} << 32) | bits(kChoiceStream, 1);
    scalars.step = below(kChoiceStream, 2, 1u << 20);
    scalars.epoch = below(kChoiceStream, 3, 100);
    return scalars;
  }

  // --- operations ---

  /// Operations whose float operands are numbers, masks a ReLU's result, and whose step only seeds: average
  /// pooling, dropout, add.
  void numbers() {
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      if (slots_[i].type == SlotType::step)
        step(random_step());
      else if (case_.desc.op.direction == Direction::backward && std::string_view(slots_[i].name) == "x")
        rectified("x");
      else
        plain(slots_[i].name);
    }
  }

  void matrix_product() {
    const auto masks = [](const auto& attrs) { return attrs.mask; };
    const bool masked = case_.desc.op.kind == OpKind::dense ? masks(case_.desc.as<DenseAttrs>())
                                                            : masks(case_.desc.as<Conv2dAttrs>());
    for (const Slot& s : slots_) {
      if (s.type != SlotType::f32 && s.type != SlotType::activation) continue;
      masked&& std::string_view(s.name) == "x" ? rectified(s.name) : plain(s.name);
    }
    if (has("images")) {
      draw_below<std::uint8_t>("images", 256);
      const bool forward = case_.desc.op.direction == Direction::forward;
      order_of_batch(slot("images").desc.shape[0],
                     (forward ? case_.desc.outputs : case_.desc.inputs)[0].shape[0]);
    }
  }

  void relu() {
    if (has("dy")) {
      plain("dy");
      rectified("y");
    } else {
      plain("x");
    }
  }

  void input_batch() {
    draw_below<std::uint8_t>("images", 256);
    draw_below<std::uint8_t>("labels", 10);
    order_of_batch(case_.desc.inputs[0].shape[0], case_.desc.outputs[0].shape[0]);
  }

  template <class T>
  void draw_below(std::string_view name, std::int64_t limit) {
    const std::span<T> values = slot(name).as<T>();
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<T>(below(stream(name), i, static_cast<std::uint64_t>(limit)));
  }

  /// The order of a dataset, and a step that finds its batch somewhere in it.
  void order_of_batch(std::int64_t dataset, std::int64_t batch) {
    draw_below<std::uint32_t>("order", dataset);
    StepScalars scalars = random_step();
    const std::int64_t length = slot("order").desc.shape[0];
    scalars.order_offset = below(kChoiceStream, 4, static_cast<std::uint64_t>(length - batch) + 1);
    step(scalars);
  }

  void batchnorm() {
    const auto& attrs = case_.desc.as<BatchNormAttrs>();
    const auto channels = static_cast<std::size_t>(slot("gamma").elements());
    each("x", [&](std::uint32_t s, std::size_t i) { return batchnorm_x(attrs, s, i, i % channels); });
    each("gamma", [&](std::uint32_t s, std::size_t c) {
      // Negative scales turn maxima into minima; a zero makes whole windows tie, and divisors of gamma fail.
      if (c % 7 == 5) return 0.0f;
      return (0.5f + uniform(s, c)) * (c % 3 == 2 ? -1.0f : 1.0f);
    });
    if (case_.desc.op.direction == Direction::backward) {
      plain("dy");
      batchnorm_saved(attrs);
      return;
    }
    each("beta", [&](std::uint32_t s, std::size_t c) { return uniform(s, c) - 0.5f; });
    each("running_mean", [&](std::uint32_t s, std::size_t c) { return number(s, c); });
    each("running_var", [&](std::uint32_t s, std::size_t c) { return 0.5f + uniform(s, c); });
    if (attrs.stats) statistics(slot("x"), slot("stats"));
  }

  float batchnorm_x(const BatchNormAttrs& attrs, std::uint32_t s, std::size_t i, std::size_t c) const {
    const auto step = static_cast<float>(c % 5);
    if (case_.flavor == Flavor::constant && c % 2 == 0) return 0.25f * step;
    float x = number(s, i);
    // A grid keeps the values of a window apart or exactly equal, so that an argmax is never a matter of
    // rounding.
    if (attrs.pool) x = std::round(x * 32) / 32;
    x = x * std::ldexp(1.0f, static_cast<int>(c % 4) - 2) + 0.25f * (step - 1);
    if (case_.flavor == Flavor::offset) x += 100;
    return attrs.mask ? std::max(x, 0.0f) : x;
  }

  /// Mean and biased variance per channel, in double and two passes.
  static void statistics(const HostTensor& x, HostTensor& stats) {
    const auto channels = static_cast<std::size_t>(stats.desc.shape[1]);
    const std::span<const float> values = x.as<float>();
    const auto rows = static_cast<double>(values.size() / channels);
    for (std::size_t c = 0; c < channels; ++c) {
      double sum = 0, squares = 0;
      for (std::size_t i = c; i < values.size(); i += channels) sum += static_cast<double>(values[i]);
      const double mean = sum / rows;
      for (std::size_t i = c; i < values.size(); i += channels) {
        const double deviation = static_cast<double>(values[i]) - mean;
        squares += deviation * deviation;
      }
      stats.as<float>()[c] = static_cast<float>(mean);
      stats.as<float>()[channels + c] = static_cast<float>(squares / rows);
    }
  }

  /// What the forward direction would have kept for this backward: saved, and y and argmax where they are
  /// slots.
  void batchnorm_saved(BatchNormAttrs attrs) {
    attrs.stats = false;
    const OpDesc forward = batchnorm_desc(Direction::forward, slot("x").desc.shape, attrs);
    Operands in;
    for (const TensorDesc& desc : forward.inputs) in.emplace_back(desc);
    in[0] = slot("x");
    in[1] = slot("gamma");
    for (std::size_t c = 0; c < in[2].as<float>().size(); ++c)
      in[2].as<float>()[c] = uniform(kBetaStream, c) - 0.5f;
    const Operands out = oracle_.run(forward, in);
    const SlotNames names = slot_names(forward);
    derive("saved", out[static_cast<std::size_t>(names.output("saved"))]);
    if (attrs.relu) derive("y", out[0]);
    if (attrs.pool) derive("argmax", out[static_cast<std::size_t>(names.output("argmax"))]);
  }

  void maxpool() {
    if (case_.desc.op.direction == Direction::forward) {
      each("x", [this](std::uint32_t s, std::size_t i) {
        const std::uint32_t choice = below(kChoiceStream, i, 16);
        if (case_.flavor == Flavor::nan && choice == 0) return kNan;
        if (case_.flavor == Flavor::nan && choice < 6) return -kInfinity;
        return number(s, i);
      });
      return;
    }
    plain("dy");
    Pool2dAttrs attrs = case_.desc.as<Pool2dAttrs>();
    const bool mask = attrs.mask;
    attrs.mask = false;
    attrs.save_argmax = true;
    const OpDesc forward =
        pool2d_desc(OpKind::maxpool2d, Direction::forward, case_.desc.outputs[0].shape, attrs);
    HostTensor x(forward.inputs[0]);
    for (std::size_t i = 0; i < x.as<float>().size(); ++i) {
      const float value = number(kPoolInputStream, i);
      x.as<float>()[i] = mask ? std::max(value, 0.0f) : value;
    }
    const Operands out = oracle_.run(forward, {x});
    derive("argmax", out[1]);
    if (mask) derive("y", out[0]);
  }

  void softmax_xent() {
    const auto classes = static_cast<std::size_t>(case_.desc.inputs[0].shape[1]);
    const bool gather = case_.desc.as<SoftmaxXentAttrs>().gather;
    if (gather) {
      draw_below<std::uint8_t>("labels", static_cast<std::int64_t>(classes));
      order_of_batch(slot("labels").desc.shape[0], case_.desc.inputs[0].shape[0]);
    } else {
      draw_below<std::int32_t>("labels", static_cast<std::int64_t>(classes));
    }
    const auto label = [&](std::size_t n) -> std::size_t {
      if (!gather) return static_cast<std::size_t>(slot("labels").as<std::int32_t>()[n]);
      StepScalars scalars;
      std::memcpy(&scalars, slot("step").bytes.data(), sizeof(scalars));
      return slot("labels").as<std::uint8_t>()[slot("order").as<std::uint32_t>()[scalars.order_offset + n]];
    };
    each("logits", [&](std::uint32_t s, std::size_t i) {
      const bool right = i % classes == label(i / classes);
      if (case_.flavor == Flavor::nan && below(kChoiceStream, i, 16) == 0) return kNan;
      if (case_.flavor == Flavor::large) return 400 * number(s, i);
      return 4 * number(s, i) + (case_.flavor == Flavor::confident && right ? 30.0f : 0.0f);
    });
    if (has("metrics")) metrics_before();
  }

  void metrics() {
    const auto classes = static_cast<std::size_t>(case_.desc.inputs[1].shape[1]);
    plain("logits");
    each("loss", [&](std::uint32_t s, std::size_t i) {
      const std::uint32_t choice = below(kChoiceStream, i, 16);
      if (case_.flavor == Flavor::nan && choice < 3)
        return choice == 0 ? kNan : choice == 1 ? kInfinity : -kInfinity;
      return tier_ == Tier::exact ? static_cast<float>(below(s, i, 9)) : 5 * uniform(s, i);
    });
    // Every other sample is right; the others are drawn, and sometimes land on a later one of tied maxima.
    const std::span<const float> logits = slot("logits").as<float>();
    const std::span<std::int32_t> labels = slot("labels").as<std::int32_t>();
    for (std::size_t n = 0; n < labels.size(); ++n) {
      const auto row = logits.subspan(n * classes, classes);
      const auto best = std::max_element(row.begin(), row.end()) - row.begin();
      labels[n] = n % 2 == 0 ? static_cast<std::int32_t>(best)
                             : static_cast<std::int32_t>(below(stream("labels"), n, classes));
    }
    metrics_before();
  }

  void metrics_before() {
    const Metrics before{tier_ == Tier::exact ? 96 : 123.456, 37, 64, 2};
    std::memcpy(slot("metrics").bytes.data(), &before, sizeof(before));
  }

  /// Plain: all is finite. Large: finite, but not squared. NaN: one value is none or infinite, a loss or a
  /// gradient, and the sums and statistics of the step are spoilt.
  void guard() {
    const bool spoilt = case_.flavor == Flavor::nan;
    const float scale = case_.flavor == Flavor::large ? 1e38f : 1.0f;
    for (const char* name : {"loss", "grads"})
      each(name, [&](std::uint32_t s, std::size_t i) { return scale * number(s, i); });
    if (has("running")) {
      plain("kept_running");
      each("running", [&](std::uint32_t s, std::size_t i) {
        return spoilt && below(kChoiceStream, i, 4) == 0 ? kNan : number(s, i);
      });
    }
    if (spoilt) {
      const std::span<float> values = slot(below(kChoiceStream, 6, 2) == 0 ? "loss" : "grads").as<float>();
      const std::uint32_t kind = below(kChoiceStream, 7, 3);
      values[below(kChoiceStream, 8, values.size())] = kind == 0 ? kNan : kind == 1 ? kInfinity : -kInfinity;
    }
    const Metrics kept{96, 37, 64, 0},
        now{spoilt ? static_cast<double>(kNan) : 112, 41, 71, spoilt ? 1.0 : 0};
    std::memcpy(slot("metrics").bytes.data(), &now, sizeof(now));
    std::memcpy(slot("kept_metrics").bytes.data(), &kept, sizeof(kept));
    const StepGuard before{static_cast<double>(below(kChoiceStream, 9, 2)), 17,
                           static_cast<double>(below(kChoiceStream, 10, 5)), 3};
    std::memcpy(slot("guard").bytes.data(), &before, sizeof(before));
  }

  /// The verdict on the step; a step that is skipped has a NaN for a gradient.
  void verdict(std::string_view spoils) {
    if (!has("guard")) return;
    const bool skip = case_.flavor == Flavor::nan;
    const StepGuard guard{skip ? 1.0 : 0.0, 3, 1, 2};
    std::memcpy(slot("guard").bytes.data(), &guard, sizeof(guard));
    if (skip) slot(spoils).as<float>()[0] = kNan;
  }

  void optimizer() {
    const auto& attrs = case_.desc.as<OptimizerAttrs>();
    StepScalars scalars = random_step();
    const bool first = case_.flavor == Flavor::first_step;
    scalars.step = first ? 0 : 10;
    const double steps = scalars.step + 1;
    const bool adaptive = attrs.slots() == 2;
    scalars.learning_rate = tier_ == Tier::exact ? 0.5f : adaptive ? 1e-3f : 0.1f;
    scalars.bias_correction1 = static_cast<float>(1 - std::pow(static_cast<double>(attrs.beta1), steps));
    scalars.bias_correction2 = static_cast<float>(1 - std::pow(static_cast<double>(attrs.beta2), steps));
    step(scalars);
    const float scale = case_.flavor == Flavor::constant ? 0.0f : case_.flavor == Flavor::tiny ? 1e-7f : 1.0f;
    segments("grads", [&](std::uint32_t s, std::size_t i) { return scale * number(s, i); });
    segments("params", [&](std::uint32_t s, std::size_t i) { return number(s, i); });
    const float state = first ? 0.0f : case_.flavor == Flavor::tiny ? 1e-7f : 1.0f;
    if (has("slot1")) segments("slot1", [&](std::uint32_t s, std::size_t i) { return state * number(s, i); });
    if (has("slot2"))
      segments("slot2", [&](std::uint32_t s, std::size_t i) { return state * state * 0.5f * uniform(s, i); });
    verdict("grads");
  }

  /// Values inside the parameter segments; the padding between them stays zero.
  template <class F>
  void segments(std::string_view name, F value) {
    const std::uint32_t index = stream(name);
    const std::span<float> elements = inputs_[index].as<float>();
    for (const ParamSegment& segment : case_.desc.as<OptimizerAttrs>().segments)
      for (auto i = static_cast<std::size_t>(segment.offset);
           i < static_cast<std::size_t>(segment.offset + segment.elements); ++i)
        elements[i] = value(index, i);
  }

  void ema() {
    StepScalars scalars = random_step();
    scalars.ema_decay = tier_ == Tier::exact ? 0.5f : 0.99f;
    step(scalars);
    plain("values");
    plain("average");
    verdict("values");
  }

  const Case& case_;
  Tier tier_;
  Precision precision_;
  const Oracle& oracle_;
  std::uint64_t seed_;
  std::vector<Slot> slots_;
  Operands inputs_;
};

}  // namespace

Operands fill_inputs(const Case& c, Tier tier, Precision precision, const Oracle& oracle) {
  return Filler(c, tier, precision, oracle).fill();
}

}  // namespace quern::check
