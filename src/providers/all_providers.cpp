#include "quern/implementation.hpp"

namespace quern {

namespace {

std::vector<void (*)(Registry&)>& extensions() {
  static std::vector<void (*)(Registry&)> functions;
  return functions;
}

}  // namespace

void extend_registries(void (*add)(Registry&)) {
  extensions().push_back(add);
}

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
  for (const auto& add : extensions()) add(registry);
  return registry;
}

}  // namespace quern
