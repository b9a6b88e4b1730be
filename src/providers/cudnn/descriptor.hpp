#pragma once

/// An owned descriptor of cuDNN's graph API with typed attributes.

#include <algorithm>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "providers/cudnn/library.hpp"

namespace quern::cudnn {

/// The tag that tells cuDNN how to read an attribute's bytes.
template <class T>
constexpr cudnnBackendAttributeType_t attribute_type() {
  if constexpr (std::is_same_v<T, std::int64_t>) return CUDNN_TYPE_INT64;
  if constexpr (std::is_same_v<T, bool>) return CUDNN_TYPE_BOOLEAN;
  if constexpr (std::is_same_v<T, float>) return CUDNN_TYPE_FLOAT;
  if constexpr (std::is_same_v<T, double>) return CUDNN_TYPE_DOUBLE;
  if constexpr (std::is_same_v<T, char>) return CUDNN_TYPE_CHAR;
  if constexpr (std::is_same_v<T, cudnnHandle_t>) return CUDNN_TYPE_HANDLE;
  if constexpr (std::is_same_v<T, cudnnDataType_t>) return CUDNN_TYPE_DATA_TYPE;
  if constexpr (std::is_same_v<T, cudnnConvolutionMode_t>) return CUDNN_TYPE_CONVOLUTION_MODE;
  if constexpr (std::is_same_v<T, cudnnBackendHeurMode_t>) return CUDNN_TYPE_HEUR_MODE;
  if constexpr (std::is_same_v<T, cudnnPointwiseMode_t>) return CUDNN_TYPE_POINTWISE_MODE;
  if constexpr (std::is_same_v<T, cudnnBackendNumericalNote_t>) return CUDNN_TYPE_NUMERICAL_NOTE;
  // Both are void*; addresses are set with set_addresses().
  if constexpr (std::is_same_v<T, cudnnBackendDescriptor_t>) return CUDNN_TYPE_BACKEND_DESCRIPTOR;
}

class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type) {
    QUERN_CUDNN(cudnnBackendCreateDescriptor, type, &raw_);
  }
  ~Descriptor() {
    if (raw_ != nullptr) library().cudnnBackendDestroyDescriptor(raw_);
  }
  Descriptor(Descriptor&& other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(raw_, other.raw_);
    return *this;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  cudnnBackendDescriptor_t get() const noexcept { return raw_; }

  template <class T>
  Descriptor& set(cudnnBackendAttributeName_t name, const T& value) {
    return set_all(name, std::span<const T>(&value, 1));
  }
  Descriptor& set(cudnnBackendAttributeName_t name, const Descriptor& value) {
    return set(name, value.get());
  }
  template <class T>
  Descriptor& set_all(cudnnBackendAttributeName_t name, std::span<const T> values) {
    return assign(name, attribute_type<T>(), values.size(), values.data());
  }
  Descriptor& set_addresses(cudnnBackendAttributeName_t name, std::span<void* const> addresses) {
    return assign(name, CUDNN_TYPE_VOID_PTR, addresses.size(), addresses.data());
  }

  template <class T>
  T read(cudnnBackendAttributeName_t name) const {
    T value{};
    std::int64_t count = 0;
    QUERN_CUDNN(cudnnBackendGetAttribute, raw_, name, attribute_type<T>(), 1, &count, &value);
    return value;
  }
  /// At most `most` values.
  template <class T>
  std::vector<T> read_all(cudnnBackendAttributeName_t name, std::int64_t most) const {
    std::vector<T> values(static_cast<std::size_t>(most));
    std::int64_t count = 0;
    QUERN_CUDNN(cudnnBackendGetAttribute, raw_, name, attribute_type<T>(), most, &count, values.data());
    values.resize(static_cast<std::size_t>(std::min(count, most)));
    return values;
  }

  /// What cuDNN thinks of the attributes: success, or why it does not serve them.
  [[nodiscard]] cudnnStatus_t try_finalize() { return library().cudnnBackendFinalize(raw_); }
  Descriptor& finalize() {
    check(try_finalize(), "cudnnBackendFinalize");
    return *this;
  }

 private:
  Descriptor& assign(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::size_t count,
                     const void* values) {
    QUERN_CUDNN(cudnnBackendSetAttribute, raw_, name, type, static_cast<std::int64_t>(count), values);
    return *this;
  }

  cudnnBackendDescriptor_t raw_ = nullptr;
};

}  // namespace quern::cudnn
