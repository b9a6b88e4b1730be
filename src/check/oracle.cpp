#include "check/oracle.hpp"

#include <omp.h>

#include <optional>

#include "check/descs.hpp"
#include "quern/error.hpp"

namespace quern::check {
namespace {

const Implementation& reference_for(const Registry& registry, const OpDesc& desc, const DeviceInfo& cpu) {
  for (const Implementation& candidate : registry.candidates(desc.op)) {
    if (candidate.provider != Provider::reference || candidate.device != DeviceKind::cpu) continue;
    if (const Refusal refusal = candidate.refusal(desc, cpu))
      fail_check("{} refuses {}: {}; without a reference nothing can be checked", candidate.full_name(),
                 describe(desc), *refusal);
    return candidate;
  }
  fail_check("no reference implementation of {} in this build; without one nothing can be checked",
             to_string(desc.op));
}

/// One OpenMP thread for a scope: the table's operands are small, and threads that wait for each other cost
/// more than the reference's loops. Its results do not depend on their number.
class SingleThread {
 public:
  SingleThread() { omp_set_num_threads(1); }
  ~SingleThread() { omp_set_num_threads(before_); }
  SingleThread(const SingleThread&) = delete;
  SingleThread& operator=(const SingleThread&) = delete;

 private:
  int before_ = omp_get_max_threads();
};

}  // namespace

Operands Oracle::run(const OpDesc& desc, const Operands& inputs) const {
  std::optional<SingleThread> single;
  if (threads_ == Threads::one) single.emplace();
  const Implementation& reference = reference_for(registry_, desc, cpu_.info());
  const SlotNames names = slot_names(desc);
  Operands outputs;
  for (std::size_t i = 0; i < desc.outputs.size(); ++i) {
    const int source = names.outputs[i].in_place;
    outputs.push_back(source < 0 ? HostTensor(desc.outputs[i]) : inputs[static_cast<std::size_t>(source)]);
  }
  // Through device buffers, although they are host memory too: the contract promises everybody their
  // alignment.
  const Stream stream = cpu_.stream();
  std::vector<Buffer> in_buffers, out_buffers;
  std::vector<void*> in, out;
  for (const HostTensor& input : inputs) {
    in_buffers.emplace_back(cpu_, input.bytes.size());
    in.push_back(in_buffers.back().data());
    cpu_.copy_to_device(in.back(), input.bytes.data(), input.bytes.size(), stream);
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const int source = names.outputs[i].in_place;
    if (source >= 0) {
      out.push_back(in[static_cast<std::size_t>(source)]);
      continue;
    }
    out_buffers.emplace_back(cpu_, outputs[i].bytes.size());
    out.push_back(out_buffers.back().data());
  }
  const auto executable = reference.prepare(desc, cpu_);
  const Buffer workspace(cpu_, executable->workspace_bytes());
  executable->run({in, out, workspace.data(), stream});
  cpu_.synchronize(stream);
  for (std::size_t i = 0; i < outputs.size(); ++i)
    cpu_.copy_to_host(outputs[i].bytes.data(), out[i], outputs[i].bytes.size(), stream);
  cpu_.synchronize(stream);
  return outputs;
}

HostTensor normalised_image(const OpDesc& desc, const Operands& inputs, const Oracle& oracle) {
  if (desc.op != OpKey{OpKind::batchnorm, Direction::forward}) return {};
  BatchNormAttrs attrs = desc.as<BatchNormAttrs>();
  if (!attrs.pool) return {};
  attrs.pool = false;
  attrs.relu = false;
  return oracle.run(batchnorm_desc(Direction::forward, inputs[0].desc.shape, attrs), inputs)[0];
}

}  // namespace quern::check
