#include "providers/onednn/support.hpp"

namespace quern {

void add_onednn(Registry& registry) {
  onednn::add_input_batch(registry);
  onednn::add_winograd(registry);
  onednn::add_direct(registry);
  onednn::add_dense(registry);
#ifdef QUERN_HAVE_DNNL
  onednn::add_primitive(registry);
#endif
  onednn::add_batchnorm(registry);
  onednn::add_pooling(registry);
  onednn::add_pointwise(registry);
  onednn::add_loss(registry);
  onednn::add_guard(registry);
  onednn::add_update(registry);
  add_backward_pairs(registry, Provider::onednn, DeviceKind::cpu);
}

}  // namespace quern
