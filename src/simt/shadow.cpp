#include "simt/shadow.hpp"

#include <sys/mman.h>

#include <new>
#include <utility>

namespace quern::simt {

ShadowRange::ShadowRange(std::size_t bytes) : mapped_((bytes / 4 + 2) * sizeof(Cell)) {
  void* const memory =
      mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  cells_ = static_cast<Cell*>(memory);  // zero bytes are valid, empty cells
}

ShadowRange::~ShadowRange() {
  if (cells_ != nullptr) munmap(cells_, mapped_);
}

ShadowRange::ShadowRange(ShadowRange&& other) noexcept
    : cells_(std::exchange(other.cells_, nullptr)), mapped_(std::exchange(other.mapped_, 0)) {}

ShadowRange& ShadowRange::operator=(ShadowRange&& other) noexcept {
  std::swap(cells_, other.cells_);
  std::swap(mapped_, other.mapped_);
  return *this;
}

}  // namespace quern::simt
