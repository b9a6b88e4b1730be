#include "io/safetensors_header.hpp"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "io/text.hpp"

namespace quern {
namespace {

using Fault = SafetensorsFault;
constexpr const char* kMetadata = "__metadata__";

template <class... Args>
[[noreturn]] void fail(Fault fault, fmt::format_string<Args...> format, Args&&... args) {
  throw SafetensorsError(fault, fmt::format(format, std::forward<Args>(args)...));
}

constexpr StoredType kTypes[] = {StoredType::boolean, StoredType::u8,  StoredType::i8,  StoredType::f8_e4m3,
                                 StoredType::f8_e5m2, StoredType::u16, StoredType::i16, StoredType::f16,
                                 StoredType::bf16,    StoredType::u32, StoredType::i32, StoredType::f32,
                                 StoredType::u64,     StoredType::i64, StoredType::f64};

std::optional<StoredType> parse_type(std::string_view text) {
  for (const StoredType type : kTypes)
    if (text == to_string(type)) return type;
  return std::nullopt;
}

/// Receives the parser's events and accepts nothing but the format's three levels, so that neither depth nor
/// duplicate keys nor stray values ever build anything in memory.
class HeaderHandler {
 public:
  using Json = nlohmann::json;

  HeaderHandler(SafetensorsHeader& header, const std::string& file) : header_(header), file_(file) {}

  bool null() { stray("null"); }
  bool boolean(bool) { stray("true or false"); }
  bool number_integer(Json::number_integer_t value) {
    if (place_ != Place::shape && place_ != Place::offsets) stray("a number");
    fail(place_ == Place::shape ? Fault::bad_shape : Fault::bad_offsets,
         "{}: tensor {} has {} in its {}; the file is damaged, write it again", file_, quote_text(name_),
         value, place_ == Place::shape ? "shape" : "data_offsets");
  }
  bool number_unsigned(Json::number_unsigned_t value) {
    if (place_ == Place::shape) {
      if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
        fail(Fault::bad_shape, "{}: tensor {} has an extent of {}; the file is damaged, write it again",
             file_, quote_text(name_), value);
      if (tensor_->shape.size() == kMaxSafetensorsRank)
        fail(Fault::bad_shape, "{}: tensor {} has more than {} dimensions, which Quern does not read", file_,
             quote_text(name_), kMaxSafetensorsRank);
      tensor_->shape.push_back(static_cast<std::int64_t>(value));
    } else if (place_ == Place::offsets) {
      if (offsets_ == 2) bad_pair();
      (offsets_++ == 0 ? tensor_->begin : tensor_->end) = value;
    } else {
      stray("a number");
    }
    return true;
  }
  bool number_float(Json::number_float_t, const std::string& text) {
    if (place_ == Place::shape || place_ == Place::offsets)
      fail(place_ == Place::shape ? Fault::bad_shape : Fault::bad_offsets,
           "{}: tensor {} has {} in its {}, where a whole number below 2^64 belongs; write the file again",
           file_, quote_text(name_), quote_text(text), place_ == Place::shape ? "shape" : "data_offsets");
    stray("a number");
  }
  bool string(std::string& value) {
    if (place_ == Place::metadata) {
      header_.metadata[key_] = std::move(value);
      return true;
    }
    if (place_ != Place::tensor || key_ != "dtype") stray("a string");
    const std::optional<StoredType> type = parse_type(value);
    if (!type)
      fail(Fault::unknown_dtype, "{}: tensor {} has the unknown dtype {}; store it as F32", file_,
           quote_text(name_), quote_text(value));
    tensor_->dtype = *type;
    return true;
  }
  bool binary(Json::binary_t&) { stray("binary data"); }

  bool start_object(std::size_t) {
    switch (place_) {
      case Place::outside:
        place_ = Place::root;
        return true;
      case Place::root:
        if (key_ == kMetadata) {
          place_ = Place::metadata;
        } else {
          place_ = Place::tensor;
          tensor_ = &header_.tensors[name_];
          offsets_ = 0;
          has_dtype_ = has_shape_ = has_offsets_ = false;
        }
        return true;
      default:
        stray("an object");
    }
  }
  bool end_object() {
    if (place_ == Place::tensor) {
      const char* missing = !has_dtype_     ? "dtype"
                            : !has_shape_   ? "shape"
                            : !has_offsets_ ? "data_offsets"
                                            : nullptr;
      if (missing != nullptr)
        fail(Fault::bad_structure, "{}: tensor {} has no {}; write the file again", file_, quote_text(name_),
             missing);
    }
    place_ = place_ == Place::root ? Place::outside : Place::root;
    return true;
  }
  bool start_array(std::size_t) {
    if (place_ == Place::tensor && key_ == "shape") {
      place_ = Place::shape;
    } else if (place_ == Place::tensor && key_ == "data_offsets") {
      place_ = Place::offsets;
    } else {
      stray("an array");
    }
    return true;
  }
  bool end_array() {
    if (place_ == Place::offsets && offsets_ != 2) bad_pair();
    place_ = Place::tensor;
    return true;
  }
  bool key(std::string& value) {
    bool repeated = false;
    if (place_ == Place::root) {
      repeated = value == kMetadata ? std::exchange(has_metadata_, true) : header_.tensors.contains(value);
      name_ = value;
    } else if (place_ == Place::metadata) {
      repeated = header_.metadata.contains(value);
    } else {
      bool* seen = value == "dtype"          ? &has_dtype_
                   : value == "shape"        ? &has_shape_
                   : value == "data_offsets" ? &has_offsets_
                                             : nullptr;
      if (seen == nullptr)
        fail(Fault::bad_structure, "{}: tensor {} has the unknown field {}; write the file again", file_,
             quote_text(name_), quote_text(value));
      repeated = std::exchange(*seen, true);
    }
    if (repeated)
      fail(Fault::duplicate_key, "{}: {} occurs twice in the header; every name must be unique", file_,
           quote_text(value));
    key_ = std::move(value);
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const Json::exception&) {
    fail(Fault::bad_json,
         "{}: the header is no valid JSON at its byte {}: the file is damaged, or is not safetensors", file_,
         position);
  }

 private:
  enum class Place { outside, root, metadata, tensor, shape, offsets };

  [[noreturn]] void stray(const char* what) const {
    switch (place_) {
      case Place::outside:
        fail(Fault::bad_json, "{}: the header is {}, not an object", file_, what);
      case Place::root:
        fail(Fault::bad_structure, "{}: {} is {}, where an object with dtype, shape and data_offsets belongs",
             file_, quote_text(key_), what);
      case Place::metadata:
        fail(Fault::bad_structure, "{}: metadata {} is {}; metadata are strings", file_, quote_text(key_),
             what);
      default:
        fail(Fault::bad_structure, "{}: tensor {} has {} in its {}; write the file again", file_,
             quote_text(name_), what, quote_text(key_));
    }
  }
  [[noreturn]] void bad_pair() const {
    fail(Fault::bad_offsets, "{}: tensor {}: data_offsets are a pair [begin, end]; write the file again",
         file_, quote_text(name_));
  }

  SafetensorsHeader& header_;
  const std::string& file_;
  Place place_ = Place::outside;
  std::string name_;  ///< of the tensor
  std::string key_;   ///< the last one seen
  StoredLayout* tensor_ = nullptr;
  int offsets_ = 0;
  bool has_metadata_ = false, has_dtype_ = false, has_shape_ = false, has_offsets_ = false;
};

void check_sizes(const SafetensorsHeader& header, const std::string& file) {
  for (const auto& [name, tensor] : header.tensors) {
    if (tensor.begin > tensor.end)
      fail(Fault::bad_offsets, "{}: tensor {} begins at {}, after its end {}; the file is damaged", file,
           quote_text(name), tensor.begin, tensor.end);
    std::uint64_t bytes = 0;
    if (!stored_size(tensor.dtype, tensor.shape, bytes))
      fail(Fault::size_overflow,
           "{}: tensor {} of shape [{}] would not fit in any memory; the file is damaged", file,
           quote_text(name), fmt::join(tensor.shape, ", "));
    if (bytes != tensor.end - tensor.begin)
      fail(Fault::size_mismatch, "{}: tensor {} is {} of shape [{}], {} bytes, but its data_offsets span {}",
           file, quote_text(name), to_string(tensor.dtype), fmt::join(tensor.shape, ", "), bytes,
           tensor.end - tensor.begin);
  }
}

void check_coverage(const SafetensorsHeader& header, std::uint64_t data_size, const std::string& file) {
  std::vector<std::pair<const std::string*, const StoredLayout*>> order;
  order.reserve(header.tensors.size());
  for (const auto& [name, tensor] : header.tensors) order.emplace_back(&name, &tensor);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.second->begin, a.second->end) < std::pair(b.second->begin, b.second->end);
  });
  std::uint64_t covered = 0;
  for (const auto& [name, tensor] : order) {
    if (tensor->begin < covered)
      fail(Fault::overlap, "{}: tensor {} begins at {}, inside the tensor before it, which ends at {}", file,
           quote_text(*name), tensor->begin, covered);
    if (tensor->begin > covered)
      fail(Fault::hole, "{}: the {} bytes before tensor {} belong to no tensor; the file is damaged", file,
           tensor->begin - covered, quote_text(*name));
    if (tensor->end > data_size)
      fail(Fault::cut_short,
           "{}: tensor {} ends at byte {} of the data, but the file has only {}: it was cut short", file,
           quote_text(*name), tensor->end, data_size);
    covered = tensor->end;
  }
  if (covered < data_size)
    fail(Fault::trailing_bytes, "{}: {} bytes after the last tensor belong to none; the file is damaged",
         file, data_size - covered);
}

}  // namespace

bool stored_size(StoredType type, std::span<const std::int64_t> shape, std::uint64_t& bytes) noexcept {
  // An extent of 0 makes the product 0 even where the others alone would overflow.
  bytes = std::find(shape.begin(), shape.end(), 0) != shape.end() ? 0 : size_of(type);
  if (bytes == 0) return true;
  for (const std::int64_t extent : shape)
    if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(extent), &bytes)) return false;
  return true;
}

std::uint64_t safetensors_header_length(std::span<const std::byte> first_bytes, std::uint64_t file_size,
                                        const std::string& file) {
  if (first_bytes.size() < kSafetensorsLengthBytes)
    fail(Fault::too_short,
         "{} has {} bytes, too few for a safetensors file: it is empty, cut short or another format", file,
         file_size);
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kSafetensorsLengthBytes; ++i)
    length |= std::to_integer<std::uint64_t>(first_bytes[i]) << (8 * i);
  if (length > kMaxSafetensorsHeader)
    fail(Fault::header_too_large, "{}: the header claims {} bytes, the limit is {}: not a safetensors file?",
         file, length, kMaxSafetensorsHeader);
  if (length > file_size - kSafetensorsLengthBytes)
    fail(Fault::header_beyond_file,
         "{}: the header claims {} bytes, but only {} follow: the file was cut short, or is not safetensors",
         file, length, file_size - kSafetensorsLengthBytes);
  return length;
}

SafetensorsHeader parse_safetensors_header(std::string_view json, std::uint64_t data_size,
                                           const std::string& file) {
  if (!json.starts_with('{'))
    fail(Fault::bad_json, "{}: the header does not begin with {{: the file is not safetensors", file);
  // The parser would take a zero byte for the end of its input, and let anything follow.
  if (const std::size_t zero = json.find('\0'); zero != std::string_view::npos)
    fail(Fault::bad_json, "{}: the header is no valid JSON at its byte {}, a zero: the file is damaged", file,
         zero + 1);
  SafetensorsHeader header;
  HeaderHandler handler(header, file);
  // Every callback throws when it objects, so the parser's own verdict is always true here.
  const bool parsed = nlohmann::json::sax_parse(json.begin(), json.end(), &handler);
  QUERN_REQUIRE(parsed, "the JSON parser stopped without a reason in {}", file);
  check_sizes(header, file);
  check_coverage(header, data_size, file);
  return header;
}

}  // namespace quern
