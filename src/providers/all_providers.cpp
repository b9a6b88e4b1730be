#include "quern/implementation.hpp"

namespace quern {

Registry Registry::with_all_providers() {
  Registry registry;
#ifdef QUERN_HAVE_CUSTOM
  add_custom(registry);
#endif
#ifdef QUERN_HAVE_CUDNN
  add_cudnn(registry);
#endif
#ifdef QUERN_HAVE_CUBLAS
  add_cublas(registry);
#endif
#ifdef QUERN_HAVE_ONEDNN
  add_onednn(registry);
#endif
#ifdef QUERN_HAVE_REFERENCE
  add_reference(registry);
#endif
  return registry;
}

}  // namespace quern
