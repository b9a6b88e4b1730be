#pragma once

/// What every fuzz target shares. A target is one source file with LLVMFuzzerTestOneInput and its seeds; it
/// is linked with libFuzzer (QUERN_FUZZ=ON, clang), or with replay_test.cpp, which feeds it mutated seeds in
/// every build.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quern/error.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace quern::fuzz {

using Bytes = std::vector<std::byte>;

/// Small valid files, and some that are nearly valid: what mutations start from. Defined by each target.
std::vector<Bytes> seeds();

/// Bytes that one allocation may have for an input of this size. Defined by each target.
std::size_t allocation_limit(std::size_t input_bytes);

/// Stops the process: libFuzzer and CTest both see a crash and keep the input.
[[noreturn]] inline void fail(const std::string& why) {
  std::fprintf(stderr, "fuzz target failed: %s\n", why.c_str());
  std::abort();
}

/// Runs a parser on bytes that may be anything. It may succeed, or throw an input error with a message of one
/// line; everything else is a fault.
template <class Action>
void expect_success_or_input_error(Action action) {
  try {
    action();
  } catch (const Error& error) {
    const std::string message = error.what();
    if (error.kind() != ErrorKind::input) fail("not an input error: " + message);
    for (const char c : message)
      if (static_cast<unsigned char>(c) < 0x20) fail("control character in the message: " + message);
    if (message.size() > 1000) fail("endless message: " + message);
  } catch (const std::exception& error) {
    fail(std::string("exception that is no Error: ") + error.what());
  }
}

inline std::span<const std::byte> as_bytes(const std::uint8_t* data, std::size_t size) {
  return std::as_bytes(std::span(data, size));
}

inline Bytes text(std::string_view characters) {
  const auto bytes = std::as_bytes(std::span(characters));
  return {bytes.begin(), bytes.end()};
}

}  // namespace quern::fuzz
