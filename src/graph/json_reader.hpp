#pragma once

/// Strict reading of JSON objects: every key must be known, every value in range, and every message says
/// where.

#include <fmt/format.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "quern/error.hpp"

namespace quern {

class JsonReader {
 public:
  /// `where` starts every message: "seed.json: layer 'conv1'".
  JsonReader(const nlohmann::json& json, std::string where);

  bool has(const char* key);
  std::string string(const char* key);
  std::string string(const char* key, const std::string& fallback);
  bool boolean(const char* key, bool fallback);
  std::int64_t integer(const char* key, std::int64_t low, std::int64_t high);
  std::int64_t integer(const char* key, std::int64_t low, std::int64_t high, std::int64_t fallback);
  double number(const char* key, double low, double high);
  double number(const char* key, double low, double high, double fallback);
  /// One number for every entry, or a list of exactly `count` of them.
  std::vector<std::int64_t> integers(const char* key, std::size_t count, std::int64_t low, std::int64_t high);
  /// A list of texts of any length.
  std::vector<std::string> strings(const char* key);
  /// The value itself, for nested readers.
  const nlohmann::json& raw(const char* key);
  const std::string& where() const { return where_; }
  /// Call when all keys have been asked for: a key nobody asked for is an error.
  void finish() const;

  [[noreturn]] void fail(const std::string& message) const;

 private:
  const nlohmann::json& require(const char* key);
  const nlohmann::json& json_;
  std::string where_;
  std::vector<std::string> known_;
};

/// Calls parse() and makes the message of an input error fit to be shown: printable, and cut after some
/// hundred bytes, whatever the text that it repeats.
std::string clean_message(std::string_view message);
template <class Parse>
auto with_clean_messages(const Parse& parse) {
  try {
    return parse();
  } catch (const Error& error) {
    throw Error(error.kind(), clean_message(error.what()));
  }
}
/// Parses text; a syntax error is an input error with line and column. Nesting is limited.
nlohmann::json parse_json(std::string_view text, const std::string& where);

}  // namespace quern
