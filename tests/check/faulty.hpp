#pragma once

/// Implementations that are wrong on purpose: the reference with something done to it.

#include <functional>
#include <string>

#include "providers/reference/reference.hpp"
#include "quern/check.hpp"
#include "quern/implementation.hpp"

namespace quern::check {

/// Runs a function of the test's own in place of an implementation.
using Body = std::function<void(const OpDesc&, const RunArgs&)>;

inline Implementation user_implementation(OpKey op, Body body, std::size_t workspace = 0) {
  Implementation implementation;
  implementation.name = "planted";
  implementation.provider = Provider::user;
  implementation.op = op;
  implementation.refusal = [](const OpDesc&, const DeviceInfo&) { return Refusal(); };
  implementation.prepare = [body = std::move(body), workspace](const OpDesc& desc, Device&) {
    return std::make_unique<FunctionExecutable>(desc, body, workspace);
  };
  return implementation;
}

/// The reference's own result, for bodies that then spoil it.
inline void right(const OpDesc& desc, const RunArgs& args) {
  reference::run<float>(desc, args);
}

/// A registry of the reference and one implementation, checked on the CPU. `cases` is a part of the cases'
/// names.
inline CheckReport check_planted(Implementation planted, const std::string& cases,
                                 CheckMode mode = CheckMode::test) {
  Registry registry;
  add_reference(registry);
  CheckOptions options;
  options.op = to_string(planted.op);
  options.threads =
      1;  // the reference's parallel loops are too short here to be worth waiting for each other
  options.case_filter = cases;
  options.implementation = "user";
  options.mode = mode;
  options.required = std::vector<Provider>{};
  registry.add(std::move(planted));
  return run_checks(registry, options);
}

}  // namespace quern::check
