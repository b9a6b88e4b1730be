#include "quern/safetensors.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "io/safetensors_header.hpp"
#include "io/text.hpp"

namespace quern {

// The format is little-endian, and tensors are used where they lie.
static_assert(std::endian::native == std::endian::little);

const char* to_string(StoredType type) noexcept {
  switch (type) {
    case StoredType::boolean:
      return "BOOL";
    case StoredType::u8:
      return "U8";
    case StoredType::i8:
      return "I8";
    case StoredType::f8_e4m3:
      return "F8_E4M3";
    case StoredType::f8_e5m2:
      return "F8_E5M2";
    case StoredType::u16:
      return "U16";
    case StoredType::i16:
      return "I16";
    case StoredType::f16:
      return "F16";
    case StoredType::bf16:
      return "BF16";
    case StoredType::u32:
      return "U32";
    case StoredType::i32:
      return "I32";
    case StoredType::f32:
      return "F32";
    case StoredType::u64:
      return "U64";
    case StoredType::i64:
      return "I64";
    case StoredType::f64:
      break;
  }
  return "F64";
}

std::size_t size_of(StoredType type) noexcept {
  switch (type) {
    case StoredType::boolean:
    case StoredType::u8:
    case StoredType::i8:
    case StoredType::f8_e4m3:
    case StoredType::f8_e5m2:
      return 1;
    case StoredType::u16:
    case StoredType::i16:
    case StoredType::f16:
    case StoredType::bf16:
      return 2;
    case StoredType::u32:
    case StoredType::i32:
    case StoredType::f32:
      return 4;
    case StoredType::u64:
    case StoredType::i64:
    case StoredType::f64:
      break;
  }
  return 8;
}

StoredType stored_type(DType type) noexcept {
  switch (type) {
    case DType::f32:
      return StoredType::f32;
    case DType::bf16:
      return StoredType::bf16;
    case DType::f64:
      return StoredType::f64;
    case DType::i32:
      return StoredType::i32;
    case DType::u32:
      return StoredType::u32;
    case DType::u8:
      break;
  }
  return StoredType::u8;
}

namespace {

std::map<std::string, StoredTensor, std::less<>> views(SafetensorsHeader& header,
                                                       std::span<const std::byte> data) {
  std::map<std::string, StoredTensor, std::less<>> tensors;
  for (auto& [name, layout] : header.tensors)
    tensors.emplace_hint(tensors.end(), name,
                         StoredTensor{layout.dtype, std::move(layout.shape),
                                      data.subspan(layout.begin, layout.end - layout.begin)});
  return tensors;
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

SafetensorsFile SafetensorsFile::parse(std::span<const std::byte> content, std::string_view name) {
  SafetensorsFile file;
  file.name_ = name;
  const std::string quoted_name = quote_path(name);
  const auto first = content.first(std::min(content.size(), kSafetensorsLengthBytes));
  const std::uint64_t length = safetensors_header_length(first, content.size(), quoted_name);
  const auto json = content.subspan(kSafetensorsLengthBytes, length);
  const auto data = content.subspan(kSafetensorsLengthBytes + length);
  SafetensorsHeader header = parse_safetensors_header(as_text(json), data.size(), quoted_name);
  file.data_.assign(data.begin(), data.end());
  file.tensors_ = views(header, file.data_);
  file.metadata_ = std::move(header.metadata);
  return file;
}

SafetensorsFile SafetensorsFile::load(const std::filesystem::path& path) {
  // The header is checked before the data are read: a wrong file of many gigabytes is refused at once. The
  // data are read rather than mapped, so that nobody can change or cut them after the check.
  InputFile input(path);
  const std::string name = quote_path(path);
  if (!input.size())
    fail_input("{} is a pipe or a device; safetensors files are read from regular files", name);
  const std::uint64_t size = *input.size();
  std::byte first[kSafetensorsLengthBytes];
  const std::size_t count = input.read(first);
  const std::uint64_t length = safetensors_header_length({first, count}, size, name);
  const auto read_exactly = [&](std::vector<std::byte>& into) {
    if (input.read(into) != into.size()) fail_input("{} became shorter while it was read; try again", name);
  };
  std::vector<std::byte> json(length);
  read_exactly(json);
  const std::uint64_t data_size = size - kSafetensorsLengthBytes - length;
  SafetensorsHeader header = parse_safetensors_header(as_text(json), data_size, name);
  SafetensorsFile file;
  file.name_ = path.string();
  file.data_.resize(data_size);
  read_exactly(file.data_);
  file.tensors_ = views(header, file.data_);
  file.metadata_ = std::move(header.metadata);
  return file;
}

const StoredTensor& SafetensorsFile::at(std::string_view tensor) const {
  const auto found = tensors_.find(tensor);
  if (found == tensors_.end())
    fail_input("{} has no tensor {}: it belongs to another model", quote_path(name_), quote_text(tensor));
  return found->second;
}

}  // namespace quern
