#include "quern/version.hpp"

namespace quern {

const char* version() noexcept {
  return QUERN_VERSION;
}

}  // namespace quern
