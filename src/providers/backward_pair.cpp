#include <algorithm>

#include "quern/error.hpp"
#include "quern/implementation.hpp"

namespace quern {

namespace {

bool has_mask(const OpDesc& desc) {
  return desc.op.kind == OpKind::dense ? desc.as<DenseAttrs>().mask : desc.as<Conv2dAttrs>().mask;
}

/// Both halves in turn, over one workspace.
class PairExecutable final : public Executable {
 public:
  PairExecutable(bool mask, std::unique_ptr<Executable> data, std::unique_ptr<Executable> weights)
      : mask_(mask), data_(std::move(data)), weights_(std::move(weights)) {}

  std::size_t workspace_bytes() const override {
    return std::max(data_->workspace_bytes(), weights_->workspace_bytes());
  }

  void run(const RunArgs& args) override {
    void* const data_in[] = {args.in[0], args.in[2], args.in[1]};
    data_->run({std::span(data_in).first(mask_ ? 3 : 2), args.out.first(1), args.workspace, args.stream});
    weights_->run({args.in.first(2), args.out.subspan(1), args.workspace, args.stream});
  }

 private:
  bool mask_;
  std::unique_ptr<Executable> data_, weights_;
};

/// What a provider has for the halves of one operation.
struct Halves {
  std::vector<Implementation> data, weights;

  /// The first that serves `half`, or null and the reasons of all.
  static const Implementation* serving(const std::vector<Implementation>& candidates, const OpDesc& half,
                                       const DeviceInfo& device, std::string* reasons = nullptr) {
    for (const Implementation& candidate : candidates) {
      const Refusal refusal = candidate.refusal(half, device);
      if (!refusal) return &candidate;
      if (reasons != nullptr)
        *reasons += fmt::format("{}{} for {}: {}", reasons->empty() ? "" : "; ", candidate.name,
                                to_string(half.op.direction), *refusal);
    }
    return nullptr;
  }

  Refusal refusal(const OpDesc& desc, const DeviceInfo& device) const {
    std::string reasons;
    if (serving(data, backward_data_half(desc), device, &reasons) == nullptr) return reasons;
    reasons.clear();
    if (serving(weights, backward_weights_half(desc), device, &reasons) == nullptr) return reasons;
    return {};
  }

  int launches(const OpDesc& desc, const DeviceInfo& device) const {
    const auto of = [&](const std::vector<Implementation>& candidates, const OpDesc& half) {
      const Implementation* const chosen = serving(candidates, half, device);
      return chosen != nullptr && chosen->launches ? chosen->launches(half, device) : 1;
    };
    return of(data, backward_data_half(desc)) + of(weights, backward_weights_half(desc));
  }

  std::unique_ptr<Executable> prepare(const OpDesc& desc, Device& device) const {
    const OpDesc data_half = backward_data_half(desc), weights_half = backward_weights_half(desc);
    const Implementation* const first = serving(data, data_half, device.info());
    const Implementation* const second = serving(weights, weights_half, device.info());
    QUERN_REQUIRE(first != nullptr && second != nullptr, "{} was refused, and is prepared all the same",
                  describe(desc));
    return std::make_unique<PairExecutable>(has_mask(desc), first->prepare(data_half, device),
                                            second->prepare(weights_half, device));
  }
};

}  // namespace

OpDesc backward_data_half(const OpDesc& desc) {
  OpDesc half{{desc.op.kind, Direction::backward_data},
              desc.attrs,
              {desc.inputs[0], desc.inputs[2]},
              {desc.outputs[0]},
              desc.precision};
  if (has_mask(desc)) half.inputs.push_back(desc.inputs[1]);
  return half;
}

OpDesc backward_weights_half(const OpDesc& desc) {
  return {{desc.op.kind, Direction::backward_weights},
          desc.attrs,
          {desc.inputs[0], desc.inputs[1]},
          {desc.outputs.begin() + 1, desc.outputs.end()},
          desc.precision};
}

void add_backward_pairs(Registry& registry, Provider provider, DeviceKind device) {
  for (const OpKind kind : {OpKind::conv2d, OpKind::dense}) {
    const auto of = [&](Direction direction) {
      std::vector<Implementation> own;
      for (const Implementation& candidate : registry.candidates({kind, direction}))
        if (candidate.provider == provider && candidate.device == device) own.push_back(candidate);
      return own;
    };
    const auto halves =
        std::make_shared<const Halves>(Halves{of(Direction::backward_data), of(Direction::backward_weights)});
    if (halves->data.empty() || halves->weights.empty()) continue;
    const auto exact = [](const Implementation& implementation) { return implementation.exact; };
    Implementation pair;
    pair.name = "pair";
    pair.provider = provider;
    pair.op = {kind, Direction::backward};
    pair.device = device;
    pair.exact = std::ranges::all_of(halves->data, exact) && std::ranges::all_of(halves->weights, exact);
    pair.refusal = [halves](const OpDesc& desc, const DeviceInfo& info) {
      return halves->refusal(desc, info);
    };
    pair.launches = [halves](const OpDesc& desc, const DeviceInfo& info) {
      return halves->launches(desc, info);
    };
    pair.prepare = [halves](const OpDesc& desc, Device& on) { return halves->prepare(desc, on); };
    registry.add(std::move(pair));
  }
}

}  // namespace quern
