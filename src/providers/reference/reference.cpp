#include "providers/reference/reference.hpp"

#include "providers/reference/ops.hpp"
#include "quern/error.hpp"

namespace quern::reference {

namespace {

using Function = void (*)(const OpDesc&, const RunArgs&);

struct Entry {
  OpKey op;
  Function function;
};

template <class Real>
constexpr Entry kEntries[] = {
    {{OpKind::input_batch, Direction::forward}, input_batch_forward<Real>},
    {{OpKind::conv2d, Direction::forward}, conv2d_forward<Real>},
    {{OpKind::conv2d, Direction::backward_data}, conv2d_backward_data<Real>},
    {{OpKind::conv2d, Direction::backward_weights}, conv2d_backward_weights<Real>},
    {{OpKind::conv2d, Direction::backward}, conv2d_backward<Real>},
    {{OpKind::dense, Direction::forward}, dense_forward<Real>},
    {{OpKind::dense, Direction::backward_data}, dense_backward_data<Real>},
    {{OpKind::dense, Direction::backward_weights}, dense_backward_weights<Real>},
    {{OpKind::dense, Direction::backward}, dense_backward<Real>},
    {{OpKind::batchnorm, Direction::forward}, batchnorm_forward<Real>},
    {{OpKind::batchnorm, Direction::inference}, batchnorm_inference<Real>},
    {{OpKind::batchnorm, Direction::backward}, batchnorm_backward<Real>},
    {{OpKind::relu, Direction::forward}, relu_forward<Real>},
    {{OpKind::relu, Direction::backward}, relu_backward<Real>},
    {{OpKind::maxpool2d, Direction::forward}, maxpool2d_forward<Real>},
    {{OpKind::maxpool2d, Direction::backward}, maxpool2d_backward<Real>},
    {{OpKind::avgpool2d, Direction::forward}, avgpool2d_forward<Real>},
    {{OpKind::avgpool2d, Direction::backward}, avgpool2d_backward<Real>},
    {{OpKind::global_avgpool, Direction::forward}, global_avgpool_forward<Real>},
    {{OpKind::global_avgpool, Direction::backward}, global_avgpool_backward<Real>},
    {{OpKind::dropout, Direction::forward}, dropout_forward<Real>},
    {{OpKind::dropout, Direction::backward}, dropout_backward<Real>},
    {{OpKind::add, Direction::forward}, add_forward<Real>},
    {{OpKind::softmax_xent, Direction::forward}, softmax_xent_forward<Real>},
    {{OpKind::metrics, Direction::forward}, metrics_forward<Real>},
    {{OpKind::guard, Direction::forward}, guard_forward<Real>},
    {{OpKind::optimizer, Direction::forward}, optimizer_forward<Real>},
    {{OpKind::ema, Direction::forward}, ema_forward<Real>},
};

template <class Real>
Function find(OpKey op) {
  for (const Entry& entry : kEntries<Real>)
    if (entry.op == op) return entry.function;
  QUERN_REQUIRE(false, "the reference has no {}", to_string(op));
  return nullptr;
}

Refusal refusal(const OpDesc&, const DeviceInfo& device) {
  if (device.kind != DeviceKind::cpu) return "needs the cpu";
  return std::nullopt;
}

std::unique_ptr<Executable> prepare(const OpDesc& desc, Device&) {
  return std::make_unique<FunctionExecutable>(desc, find<float>(desc.op));
}

}  // namespace

template <class Real>
void run(const OpDesc& desc, const RunArgs& args) {
  find<Real>(desc.op)(desc, args);
}

template void run<float>(const OpDesc&, const RunArgs&);
template void run<double>(const OpDesc&, const RunArgs&);

}  // namespace quern::reference

namespace quern {

void add_reference(Registry& registry) {
  for (const OpKey& op : all_operations()) {
    Implementation naive{"naive",         Provider::reference, op,
                         DeviceKind::cpu, reference::refusal,  reference::prepare};
    naive.merges = true;
    registry.add(std::move(naive));
  }
}

}  // namespace quern
