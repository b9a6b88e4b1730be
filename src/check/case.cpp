#include "check/case.hpp"

#include <algorithm>

#include "check/cases/table.hpp"
#include "quern/error.hpp"

namespace quern::check {
namespace {

bool power_of_two(std::int64_t n) {
  return n > 0 && (n & (n - 1)) == 0;
}

std::vector<Case> build_table() {
  Table table;
  add_input_batch_cases(table);
  add_conv2d_cases(table);
  add_dense_cases(table);
  add_batchnorm_cases(table);
  add_relu_cases(table);
  add_maxpool2d_cases(table);
  add_avgpool2d_cases(table);
  add_global_avgpool_cases(table);
  add_dropout_cases(table);
  add_add_cases(table);
  add_softmax_xent_cases(table);
  add_metrics_cases(table);
  add_guard_cases(table);
  add_optimizer_cases(table);
  add_ema_cases(table);
  std::vector<Case> cases = table.take();
  for (const Case& c : cases) validate(c.desc);
  return cases;
}

}  // namespace

void Table::add(const std::string& name, const OpDesc& desc, Flavor flavor) {
  Case added{fmt::format("{}/{}", to_string(desc.op), name), desc, flavor};
  const auto [entry, is_new] = index_.try_emplace(added.name, cases_.size());
  if (is_new) {
    cases_.push_back(std::move(added));
    return;
  }
  const Case& present = cases_[entry->second];
  QUERN_REQUIRE(present.desc == added.desc && present.flavor == added.flavor,
                "two different cases are called {}", added.name);
}

void Table::add_thinned(unsigned thin, const std::string& name, const OpDesc& desc, Flavor flavor) {
  if (hash_name(fmt::format("{}/{}", to_string(desc.op), name)) % thin == 0) add(name, desc, flavor);
}

const std::vector<Case>& all_cases() {
  static const std::vector<Case> cases = build_table();
  return cases;
}

bool has_exact_tier(const Case& c) {
  if (c.flavor != Flavor::plain) return false;
  switch (c.desc.op.kind) {
    case OpKind::conv2d:
      return !c.desc.as<Conv2dAttrs>().gather;  // which divides by 255
    case OpKind::dense:
    case OpKind::relu:
    case OpKind::maxpool2d:
    case OpKind::add:
    case OpKind::ema:
      return true;  // ema: with a decay of 1/2
    case OpKind::avgpool2d: {
      // Dividing by a power of two is exact, and multiplying by its reciprocal the same.
      const auto& attrs = c.desc.as<Pool2dAttrs>();
      const Window& w = attrs.window;
      const bool whole = attrs.count_include_pad || w.pad_top + w.pad_left + w.pad_bottom + w.pad_right == 0;
      return whole && power_of_two(std::int64_t{w.r} * w.s);
    }
    case OpKind::global_avgpool: {
      const Shape& x =
          c.desc.op.direction == Direction::forward ? c.desc.inputs[0].shape : c.desc.outputs[0].shape;
      return power_of_two(x[1] * x[2]);
    }
    case OpKind::dropout: {
      const float keep = 1 - c.desc.as<DropoutAttrs>().probability;
      return keep == 1.0f || keep == 0.5f || keep == 0.25f;
    }
    case OpKind::metrics:
      return true;
    case OpKind::optimizer: {
      // With powers of two for learning rate, momentum and decay. Adam's root and the clipping norm are
      // inexact.
      const auto& attrs = c.desc.as<OptimizerAttrs>();
      if (attrs.clip_norm != 0) return false;
      return attrs.slots() == 0 || (attrs.slots() == 1 && attrs.momentum == 0.5f);
    }
    default:
      return false;
  }
}

std::uint64_t hash_name(std::string_view name) noexcept {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (const char character : name) {
    hash ^= static_cast<unsigned char>(character);
    hash *= 0x100000001B3u;
  }
  return hash;
}

}  // namespace quern::check
