#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/safetensors_header.hpp"
#include "io/text.hpp"
#include "quern/safetensors.hpp"

namespace quern {
namespace {

constexpr std::size_t kDataAlignment = 8;  // of the largest element type

/// Ordered so that the fields stand as they are inserted.
using OrderedJson = nlohmann::ordered_json;

void check_tensor(const TensorToStore& tensor) {
  if (tensor.name.empty() || tensor.name == "__metadata__")
    fail_input("a tensor cannot be named {} in a safetensors file; rename it", quote_text(tensor.name));
  QUERN_REQUIRE(tensor.shape.size() <= kMaxSafetensorsRank, "tensor {} has {} dimensions, the limit is {}",
                quote_text(tensor.name), tensor.shape.size(), kMaxSafetensorsRank);
  for (const std::int64_t extent : tensor.shape)
    QUERN_REQUIRE(extent >= 0, "tensor {} has an extent of {}", quote_text(tensor.name), extent);
  std::uint64_t bytes = 0;
  QUERN_REQUIRE(stored_size(tensor.dtype, tensor.shape, bytes) && bytes == tensor.bytes.size(),
                "tensor {} of shape [{}] comes with {} bytes", quote_text(tensor.name),
                fmt::join(tensor.shape, ", "), tensor.bytes.size());
}

std::string dump(const OrderedJson& header) {
  try {
    return header.dump();
  } catch (const nlohmann::json::exception&) {
    fail_input("a name or a metadata text of the safetensors file to be written is not UTF-8; rename it");
  }
}

}  // namespace

SafetensorsPlan plan_safetensors(std::span<const TensorToStore> tensors, const StringMap& metadata) {
  SafetensorsPlan plan;
  for (const TensorToStore& tensor : tensors) {
    check_tensor(tensor);
    plan.order.push_back(&tensor);
  }
  std::sort(plan.order.begin(), plan.order.end(), [](const TensorToStore* a, const TensorToStore* b) {
    const std::size_t size_a = size_of(a->dtype), size_b = size_of(b->dtype);
    return size_a != size_b ? size_a > size_b : a->name < b->name;
  });

  OrderedJson header = OrderedJson::object();
  if (!metadata.empty()) {
    OrderedJson& texts = header["__metadata__"];
    for (const auto& [key, text] : metadata) texts[key] = text;
  }
  std::uint64_t offset = 0;
  for (const TensorToStore* tensor : plan.order) {
    if (header.contains(tensor->name))
      fail_input("two tensors are named {} in the safetensors file to be written; rename one",
                 quote_text(tensor->name));
    header[tensor->name] = {{"dtype", to_string(tensor->dtype)},
                            {"shape", tensor->shape},
                            {"data_offsets", {offset, offset + tensor->bytes.size()}}};
    offset += tensor->bytes.size();
  }

  std::string json = dump(header);
  json.resize((json.size() + kDataAlignment - 1) / kDataAlignment * kDataAlignment, ' ');
  if (json.size() > kMaxSafetensorsHeader)
    fail_input(
        "the safetensors header would have {} bytes, the limit is {}; store fewer tensors or less metadata",
        json.size(), kMaxSafetensorsHeader);
  for (std::size_t i = 0; i < kSafetensorsLengthBytes; ++i)
    plan.head += static_cast<char>(static_cast<std::uint64_t>(json.size()) >> (8 * i) & 0xFF);
  plan.head += json;
  return plan;
}

void write_safetensors(const std::filesystem::path& path, std::span<const TensorToStore> tensors,
                       const StringMap& metadata, FileSystem& files) {
  const SafetensorsPlan plan = plan_safetensors(tensors, metadata);
  std::vector<std::span<const std::byte>> parts{std::as_bytes(std::span(plan.head))};
  for (const TensorToStore* tensor : plan.order) parts.push_back(tensor->bytes);
  write_file_atomically(path, parts, files);
}

std::vector<std::byte> encode_safetensors(std::span<const TensorToStore> tensors, const StringMap& metadata) {
  const SafetensorsPlan plan = plan_safetensors(tensors, metadata);
  const auto head = std::as_bytes(std::span(plan.head));
  std::vector<std::byte> content(head.begin(), head.end());
  for (const TensorToStore* tensor : plan.order)
    content.insert(content.end(), tensor->bytes.begin(), tensor->bytes.end());
  return content;
}

}  // namespace quern
