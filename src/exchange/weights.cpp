#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "exchange/foreign_layout.hpp"
#include "io/text.hpp"
#include "quern/error.hpp"
#include "quern/exchange.hpp"
#include "quern/version.hpp"

namespace quern {
namespace {

float from_half(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const float mantissa = static_cast<float>(bits & 1023);
  const float size = exponent == 0    ? std::ldexp(mantissa, -24)
                     : exponent == 31 ? (mantissa == 0 ? INFINITY : NAN)
                                      : std::ldexp(1024 + mantissa, exponent - 25);
  return (bits & 0x8000) != 0 ? -size : size;
}

template <class T, class Convert>
std::vector<float> convert(std::span<const std::byte> bytes, Convert to_float) {
  std::vector<float> values(bytes.size() / sizeof(T));
  for (std::size_t i = 0; i < values.size(); ++i) {
    T value;  // the file's bytes need not be aligned
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    values[i] = to_float(value);
  }
  return values;
}

std::vector<float> read_values(const StoredTensor& tensor, const std::string& file, const std::string& name) {
  switch (tensor.dtype) {
    case StoredType::f32:
      return convert<float>(tensor.bytes, [](float value) { return value; });
    case StoredType::f64:
      return convert<double>(tensor.bytes, [](double value) { return static_cast<float>(value); });
    case StoredType::f16:
      return convert<std::uint16_t>(tensor.bytes, from_half);
    case StoredType::bf16:
      return convert<std::uint16_t>(tensor.bytes, [](std::uint16_t bits) {
        return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
      });
    default:
      fail_input("{}: tensor {} is {}: only F32, F64, F16 and BF16 are read; save it as one of them", file,
                 quote_text(name), to_string(tensor.dtype));
  }
}

/// A name with its beginning replaced by the first rule whose left side ends at a dot, a slash or the end.
std::string renamed(const std::string& name, const ImportOptions& options) {
  for (const auto& [from, to] : options.renames) {
    if (!name.starts_with(from)) continue;
    if (name.size() == from.size() || name[from.size()] == '.' || name[from.size()] == '/')
      return to + name.substr(from.size());
  }
  return name;
}

std::string list_names(const std::vector<std::string>& names) {
  constexpr std::size_t kMost = 8;
  std::vector<std::string> shown;
  for (std::size_t i = 0; i < std::min(kMost, names.size()); ++i) shown.push_back(quote_text(names[i]));
  return fmt::format("{}{}", fmt::join(shown, ", "),
                     names.size() > kMost ? fmt::format(" and {} more", names.size() - kMost) : "");
}

}  // namespace

const char* to_string(WeightHome home) noexcept {
  return home == WeightHome::torch ? "torch" : "keras";
}

void export_weights(const std::filesystem::path& path, const ModelSpec& spec, std::span<const float> weights,
                    WeightHome home) {
  const auto layout = foreign_layout(spec, home);
  std::vector<std::vector<float>> values;
  values.reserve(layout.size());
  std::vector<TensorToStore> tensors;
  tensors.reserve(layout.size());
  for (const ForeignTensor& tensor : layout)
    values.push_back(tensor.to_foreign(weights.subspan(
        static_cast<std::size_t>(tensor.own.offset), static_cast<std::size_t>(tensor.own.shape.elements()))));
  for (std::size_t i = 0; i < layout.size(); ++i)
    tensors.push_back(
        {layout[i].name, StoredType::f32, layout[i].shape, std::as_bytes(std::span(values[i]))});
  write_safetensors(path, tensors,
                    {{"format", home == WeightHome::torch ? "pt" : "keras"},
                     {"quern_version", version()},
                     {"model", to_json(spec).dump()}});
}

std::vector<float> import_weights(const std::filesystem::path& path, const ModelSpec& spec,
                                  const ImportOptions& options) {
  return import_weights(SafetensorsFile::load(path), spec, options);
}

std::vector<float> import_weights(const SafetensorsFile& file, const ModelSpec& spec,
                                  const ImportOptions& options) {
  std::map<std::string, std::pair<std::string, const StoredTensor*>> given;  // by the name after renaming
  bool slashes = false;
  for (const auto& [name, tensor] : file.tensors()) {
    const std::string now = renamed(name, options);
    slashes |= now.find('/') != std::string::npos;
    if (!given.emplace(now, std::pair(name, &tensor)).second)
      fail_input("{}: two tensors are called {} after renaming: give --rename more exactly", file.name(),
                 quote_text(now));
  }
  const WeightHome home = options.home.value_or(slashes ? WeightHome::keras : WeightHome::torch);
  const auto layout = foreign_layout(spec, home);

  std::vector<std::string> missing, left_over;
  std::set<std::string> wanted;
  for (const ForeignTensor& tensor : layout) {
    wanted.insert(tensor.name);
    if (!given.contains(tensor.name)) missing.push_back(tensor.name);
  }
  for (const auto& [name, tensor] : given)
    if (!wanted.contains(name) && !name.ends_with(".num_batches_tracked")) left_over.push_back(name);
  if (!missing.empty())
    fail_input("{}: model '{}' needs {}, which the file ({} names) lacks{}; --rename OLD=NEW maps names",
               file.name(), spec.name, list_names(missing), to_string(home),
               left_over.empty() ? "" : fmt::format("; it has {} instead", list_names(left_over)));
  if (!left_over.empty())
    fail_input("{}: model '{}' has no place for {}: choose the model these weights belong to", file.name(),
               spec.name, list_names(left_over));

  std::vector<float> weights(static_cast<std::size_t>(weight_layout(spec).total_elements), 0.0f);
  for (const ForeignTensor& tensor : layout) {
    const auto& [name, stored] = given.at(tensor.name);
    if (stored->shape != tensor.shape)
      fail_input("{}: tensor {} is [{}], model '{}' takes [{}] ({} layout)", file.name(), quote_text(name),
                 fmt::join(stored->shape, "x"), spec.name, fmt::join(tensor.shape, "x"), to_string(home));
    const std::vector<float> values = tensor.to_own(read_values(*stored, file.name(), name));
    if (!std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); }))
      fail_input("{}: tensor {} has values that are not finite", file.name(), quote_text(name));
    if (tensor.own.name.ends_with(".running_var") &&
        std::any_of(values.begin(), values.end(), [](float value) { return value < 0; }))
      fail_input("{}: tensor {} has a negative variance", file.name(), quote_text(name));
    std::copy(values.begin(), values.end(), weights.begin() + tensor.own.offset);
  }
  return weights;
}

}  // namespace quern
