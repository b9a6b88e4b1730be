#include "graph/ranges.hpp"

#ifdef QUERN_HAVE_CUDA

#include <nvtx3/nvToolsExt.h>

namespace quern::ranges {

namespace {

nvtxDomainHandle_t domain() {
  static const nvtxDomainHandle_t handle = nvtxDomainCreateA("quern");
  return handle;
}

/// Categories tell what a payload counts.
const char* category_name(Unit unit) {
  return unit == Unit::flops ? "flops" : unit == Unit::bytes ? "bytes" : "steps";
}

}  // namespace

Name::Name(const std::string& text) : handle_(nvtxDomainRegisterStringA(domain(), text.c_str())) {
  [[maybe_unused]] static const bool named = [] {
    for (const Unit unit : {Unit::flops, Unit::bytes, Unit::steps})
      nvtxDomainNameCategoryA(domain(), static_cast<std::uint32_t>(unit), category_name(unit));
    return true;
  }();
}

Scope::Scope(const Name& name, double payload, Unit unit) noexcept {
  nvtxEventAttributes_t event = {};
  event.version = NVTX_VERSION;
  event.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
  event.category = static_cast<std::uint32_t>(unit);
  event.messageType = NVTX_MESSAGE_TYPE_REGISTERED;
  event.message.registered = static_cast<nvtxStringHandle_t>(name.handle_);
  if (unit != Unit::none) {
    event.payloadType = NVTX_PAYLOAD_TYPE_DOUBLE;
    event.payload.dValue = payload;
  }
  nvtxDomainRangePushEx(domain(), &event);
}

Scope::~Scope() {
  nvtxDomainRangePop(domain());
}

}  // namespace quern::ranges

#else

namespace quern::ranges {

Name::Name(const std::string&) {}
Scope::Scope(const Name&, double, Unit) noexcept {}
Scope::~Scope() {}

}  // namespace quern::ranges

#endif
