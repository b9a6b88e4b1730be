#include "providers/cudnn/support.hpp"

namespace quern {

namespace cudnn {

namespace {

/// An operation that cuDNN has in another form only: listed so that tables say why it is not served.
void add_refused(Registry& registry, OpKey op, const char* reason) {
  add_entry(registry, {"none", op, [reason](const OpDesc&, const DeviceInfo&) -> Refusal { return reason; },
                       [](const OpDesc&, Device&) -> std::unique_ptr<Executable> { return nullptr; }});
}

}  // namespace

}  // namespace cudnn

void add_cudnn(Registry& registry) {
  cudnn::add_conv2d(registry);
  add_backward_pairs(registry, Provider::cudnn, DeviceKind::cuda);
  cudnn::add_batchnorm(registry);
  cudnn::add_pooling(registry);
  cudnn::add_refused(registry, {OpKind::maxpool2d, Direction::backward},
                     "finds the maxima again in x and y, the operation has them as an argmax");
  cudnn::add_relu(registry);
  cudnn::add_refused(registry, {OpKind::softmax_xent, Direction::forward},
                     "has a softmax, but neither the loss nor its gradient");
}

}  // namespace quern
