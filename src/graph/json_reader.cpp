#include "graph/json_reader.hpp"

#include <algorithm>
#include <cmath>

#include "io/text.hpp"
#include "quern/error.hpp"
#include "quern/suggest.hpp"

namespace quern {

JsonReader::JsonReader(const nlohmann::json& json, std::string where)
    : json_(json), where_(std::move(where)) {
  if (!json_.is_object()) fail(fmt::format("expected an object {{...}}, found {}", json_.type_name()));
}

void JsonReader::fail(const std::string& message) const {
  fail_input("{}: {}", where_, message);
}

bool JsonReader::has(const char* key) {
  known_.emplace_back(key);
  return json_.contains(key);
}

const nlohmann::json& JsonReader::require(const char* key) {
  if (has(key)) return json_.at(key);
  // A key that nobody has asked for so far, and that is near this one, was probably meant to be it.
  for (const auto& [given, value] : json_.items())
    if (std::find(known_.begin(), known_.end(), given) == known_.end() && nearest(given, {&known_.back(), 1}))
      fail(fmt::format("'{}' is missing; did you mean it by '{}'?", key, given));
  fail(fmt::format("'{}' is missing", key));
}

std::vector<std::string> JsonReader::strings(const char* key) {
  const nlohmann::json& list = require(key);
  const bool good = list.is_array() && std::all_of(list.begin(), list.end(),
                                                   [](const auto& entry) { return entry.is_string(); });
  if (!good) fail(fmt::format("'{}' must be a list of texts", key));
  return list.get<std::vector<std::string>>();
}

const nlohmann::json& JsonReader::raw(const char* key) {
  return require(key);
}

std::string JsonReader::string(const char* key) {
  const nlohmann::json& value = require(key);
  if (!value.is_string()) fail(fmt::format("'{}' must be a string, found {}", key, value.dump()));
  return value.get<std::string>();
}

std::string JsonReader::string(const char* key, const std::string& fallback) {
  return has(key) ? string(key) : fallback;
}

bool JsonReader::boolean(const char* key, bool fallback) {
  if (!has(key)) return fallback;
  const nlohmann::json& value = json_.at(key);
  if (!value.is_boolean()) fail(fmt::format("'{}' must be true or false, found {}", key, value.dump()));
  return value.get<bool>();
}

namespace {

bool in_range(const nlohmann::json& value, std::int64_t low, std::int64_t high) {
  if (!value.is_number_integer()) return false;
  // An unsigned number above INT64_MAX would wrap when read as signed.
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX))
    return false;
  const auto number = value.get<std::int64_t>();
  return number >= low && number <= high;
}

}  // namespace

std::int64_t JsonReader::integer(const char* key, std::int64_t low, std::int64_t high) {
  const nlohmann::json& value = require(key);
  if (!in_range(value, low, high))
    fail(fmt::format("'{}' must be a whole number from {} to {}, found {}", key, low, high, value.dump()));
  return value.get<std::int64_t>();
}

std::int64_t JsonReader::integer(const char* key, std::int64_t low, std::int64_t high,
                                 std::int64_t fallback) {
  return has(key) ? integer(key, low, high) : fallback;
}

double JsonReader::number(const char* key, double low, double high) {
  const nlohmann::json& value = require(key);
  const double number = value.is_number() ? value.get<double>() : std::nan("");
  if (!(number >= low && number <= high))
    fail(fmt::format("'{}' must be a number from {} to {}, found {}", key, low, high, value.dump()));
  return number;
}

double JsonReader::number(const char* key, double low, double high, double fallback) {
  return has(key) ? number(key, low, high) : fallback;
}

std::vector<std::int64_t> JsonReader::integers(const char* key, std::size_t count, std::int64_t low,
                                               std::int64_t high) {
  const nlohmann::json& value = require(key);
  if (in_range(value, low, high)) return std::vector<std::int64_t>(count, value.get<std::int64_t>());
  const bool good =
      value.is_array() && value.size() == count &&
      std::all_of(value.begin(), value.end(), [&](const auto& v) { return in_range(v, low, high); });
  if (!good)
    fail(fmt::format("'{}' must be a whole number from {} to {} or a list of {} of them, found {}", key, low,
                     high, count, value.dump()));
  return value.get<std::vector<std::int64_t>>();
}

void JsonReader::finish() const {
  for (const auto& [key, value] : json_.items())
    if (std::find(known_.begin(), known_.end(), key) == known_.end())
      fail(fmt::format("unknown key '{}'{}", key, did_you_mean(key, known_)));
}

nlohmann::json parse_json(std::string_view text, const std::string& where) {
  constexpr int kMaxDepth = 16;
  try {
    return nlohmann::json::parse(text, [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
      if (depth > kMaxDepth) fail_input("{}: nested deeper than {} levels", where, kMaxDepth);
      return true;
    });
  } catch (const nlohmann::json::exception& error) {
    // "[json.exception.parse_error.101] parse error at line 3, column 5: ..." without the library's tag.
    std::string_view message = error.what();
    if (const auto bracket = message.find("] "); bracket != std::string_view::npos)
      message.remove_prefix(bracket + 2);
    fail_input("{}: not valid JSON: {}", where, message);
  }
}

std::string clean_message(std::string_view message) {
  constexpr std::size_t kMost = 800;
  return printable(message, kMost);
}

}  // namespace quern
