/// safetensors: as a whole file, and as a header whose length is right, followed by data. What can be read
/// must survive being written and read again.

#include <algorithm>

#include "quern/safetensors.hpp"
#include "tests/fuzz/safetensors_file.hpp"

using namespace quern;

namespace {

std::vector<TensorToStore> contents(const SafetensorsFile& file) {
  std::vector<TensorToStore> tensors;
  for (const auto& [name, tensor] : file.tensors())
    tensors.push_back({name, tensor.dtype, tensor.shape, tensor.bytes});
  return tensors;
}

void read_and_write(std::span<const std::byte> content) {
  fuzz::expect_success_or_input_error([&] {
    const SafetensorsFile file = SafetensorsFile::parse(content, "fuzz.safetensors");
    if (file.tensors().contains("")) return;  // may be read, but not written
    const fuzz::Bytes written = encode_safetensors(contents(file), file.metadata());
    const SafetensorsFile again = SafetensorsFile::parse(written, "again");
    if (again.metadata() != file.metadata() || again.tensors().size() != file.tensors().size())
      fuzz::fail("metadata or tensors were lost");
    for (const auto& [name, tensor] : file.tensors()) {
      const StoredTensor& other = again.at(name);
      if (other.dtype != tensor.dtype || other.shape != tensor.shape ||
          !std::ranges::equal(other.bytes, tensor.bytes))
        fuzz::fail("a tensor changed");
    }
    if (encode_safetensors(contents(again), again.metadata()) != written)
      fuzz::fail("the same content, other bytes");
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto content = fuzz::as_bytes(data, size);
  read_and_write(content);
  if (content.size() > 8) read_and_write(fuzz::repair_length(content));
  return 0;
}

std::vector<fuzz::Bytes> fuzz::seeds() {
  std::vector<std::byte> data(32);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i);
  const std::span<const std::byte> bytes(data);
  const std::vector<TensorToStore> tensors{{"conv1.weight", StoredType::f32, {2, 2}, bytes.first(16)},
                                           {"step", StoredType::u64, {}, bytes.first(8)},
                                           {"mask", StoredType::boolean, {3}, bytes.first(3)},
                                           {"none", StoredType::bf16, {0, 4}, {}}};
  const auto by_hand = [&](std::string_view header, std::size_t count) {
    return safetensors_file(std::as_bytes(std::span(header)), bytes.first(count));
  };
  return {
      encode_safetensors(tensors, {{"format", "quern"}, {"epoch", "3"}}),
      encode_safetensors(std::span(tensors).first(1)),
      encode_safetensors({}),
      by_hand(
          R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"I16","shape":[1],"data_offsets":[2,4]}})",
          4),
      by_hand(R"({"a":{"dtype":"F8_E4M3","shape":[1,1,1],"data_offsets":[1,2]}})", 2),
      by_hand(R"({"a":{"dtype":"F64","shape":[18446744073709551615],"data_offsets":[0,8]}})", 8),
      by_hand(
          R"({"__metadata__":{"\u00e4":"\ud83d\ude00"},"\n":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}  )",
          1)};
}

// A tensor's entry in the maps takes more room than its text; the header is bounded by the input all the
// same.
std::size_t fuzz::allocation_limit(std::size_t input_bytes) {
  return 16 * input_bytes + (64 << 10);
}
