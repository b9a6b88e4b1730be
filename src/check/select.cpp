#include "check/select.hpp"

#include <algorithm>
#include <set>

#include "quern/error.hpp"
#include "quern/suggest.hpp"

namespace quern::check {
namespace {

bool has_gradient(const OpDesc& desc) {
  // Where an operand comes from changes nothing about a gradient, which has cases without `gather`.
  if (desc.op.kind == OpKind::conv2d && desc.as<Conv2dAttrs>().gather) return false;
  if (desc.op.kind == OpKind::softmax_xent && desc.as<SoftmaxXentAttrs>().gather) return false;
  if (desc.op.kind == OpKind::softmax_xent) return desc.as<SoftmaxXentAttrs>().gradient;
  return desc.op.direction != Direction::forward && desc.op.direction != Direction::inference;
}

/// Every implementation of every operation.
template <class F>
void for_each_implementation(const Registry& registry, F visit) {
  for (const OpKey& op : all_operations())
    for (const Implementation& implementation : registry.candidates(op)) visit(implementation);
}

/// Numerical differentiation walks through the forward twice for every difference: cases up to this many
/// FLOPs.
constexpr double kLargestGradientCase = 4e5;

}  // namespace

std::vector<OpKey> select_operations(const std::string& filter) {
  if (filter.empty()) return all_operations();
  if (filter.find('.') != std::string::npos) return {parse_op_key(filter)};
  std::vector<OpKey> selected;
  std::vector<std::string> names;
  for (const OpKey& op : all_operations()) {
    if (to_string(op.kind) == filter) selected.push_back(op);
    if (names.empty() || names.back() != to_string(op.kind)) names.emplace_back(to_string(op.kind));
  }
  if (selected.empty())
    fail_input("unknown operation '{}': the operations are {}{}", filter, fmt::join(names, ", "),
               did_you_mean(filter, names));
  return selected;
}

std::vector<const Case*> select_cases(const CheckOptions& options) {
  if (options.shard_count < 1 || options.shard_index < 0 || options.shard_index >= options.shard_count)
    fail_input("shard {}/{}: the first number must be from 0 to one less than the second",
               options.shard_index, options.shard_count);
  const std::vector<OpKey> operations = select_operations(options.op);
  std::vector<const Case*> selected;
  for (const Case& c : all_cases()) {
    if (std::find(operations.begin(), operations.end(), c.desc.op) == operations.end()) continue;
    if (options.mode == CheckMode::grad &&
        (!has_gradient(c.desc) || c.flavor == Flavor::nan || cost(c.desc).flops > kLargestGradientCase))
      continue;
    if (c.name.find(options.case_filter) != std::string::npos) selected.push_back(&c);
  }
  const auto whole = std::find_if(selected.begin(), selected.end(),
                                  [&](const Case* c) { return c->name == options.case_filter; });
  if (whole != selected.end()) selected = {*whole};
  if (selected.empty())
    fail_input("no case{}{}{}; `quern check --list` shows them",
               options.op.empty() ? "" : fmt::format(" of {}", options.op),
               options.case_filter.empty() ? "" : fmt::format(" has '{}' in its name", options.case_filter),
               options.mode == CheckMode::grad ? " with a gradient to differentiate" : "");
  std::vector<const Case*> shard;
  for (std::size_t i = static_cast<std::size_t>(options.shard_index); i < selected.size();
       i += static_cast<std::size_t>(options.shard_count))
    shard.push_back(selected[i]);
  return shard;
}

bool names_implementation(const std::string& filter, const Implementation& implementation) {
  return filter.empty() || filter == to_string(implementation.provider) ||
         filter == implementation.full_name();
}

std::vector<const Implementation*> select_implementations(const Registry& registry, OpKey op, DeviceKind kind,
                                                          const CheckOptions& options) {
  std::vector<const Implementation*> selected;
  for (const Implementation& implementation : registry.candidates(op))
    if (implementation.device == kind && names_implementation(options.implementation, implementation))
      selected.push_back(&implementation);
  return selected;
}

void require_known_implementation(const Registry& registry, DeviceKind kind, const CheckOptions& options) {
  if (options.implementation.empty()) return;
  std::set<std::string> known, devices;
  for_each_implementation(registry, [&](const Implementation& implementation) {
    known.insert(to_string(implementation.provider));
    known.insert(implementation.full_name());
    if (names_implementation(options.implementation, implementation))
      devices.insert(to_string(implementation.device));
  });
  if (devices.empty()) {
    const std::vector<std::string> names(known.begin(), known.end());
    fail_input("unknown implementation '{}': this build has {}{}", options.implementation,
               fmt::join(names, ", "), did_you_mean(options.implementation, names));
  }
  if (devices.count(to_string(kind)) == 0)
    fail_input("{} does not run on {}, only on {}: choose the device with --device", options.implementation,
               to_string(kind), fmt::join(devices, ", "));
}

std::vector<CheckGap> find_gaps(const Registry& registry, const std::vector<OpKey>& operations,
                                DeviceKind kind, const CheckOptions& options) {
  const std::vector<Provider> required = options.required ? *options.required : required_providers(kind);
  std::set<Provider> providers(required.begin(), required.end());
  for_each_implementation(registry, [&](const Implementation& implementation) {
    if (implementation.device == kind) providers.insert(implementation.provider);
  });
  std::vector<CheckGap> gaps;
  for (const Provider provider : providers) {
    // With a filter only the provider it names is asked for.
    const std::string name = to_string(provider);
    if (!options.implementation.empty() && options.implementation != name &&
        !options.implementation.starts_with(name + ":"))
      continue;
    const bool must = std::find(required.begin(), required.end(), provider) != required.end();
    for (const OpKey& op : operations) {
      const auto candidates = registry.candidates(op);
      const bool present = std::any_of(candidates.begin(), candidates.end(), [&](const Implementation& i) {
        return i.device == kind && i.provider == provider;
      });
      if (!present) gaps.push_back({op, provider, must});
    }
  }
  return gaps;
}

}  // namespace quern::check
