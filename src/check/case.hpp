#pragma once

/// One case of the conformance table: an operation with shapes and attributes, and what kind of data it gets.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "check/descs.hpp"

namespace quern::check {

/// What is special about a case's data. Everything else about filling follows from the operation's slots.
enum class Flavor : std::uint8_t {
  plain,
  nan,  ///< some NaN (pooling: in x; softmax: in the logits; metrics: in the losses), where the contract says
        ///< what becomes of them
  offset,      ///< batch norm: mean far larger than the deviation, where one-pass variances cancel
  constant,    ///< batch norm: channels without variance; optimizer: gradients all zero
  large,       ///< softmax: logits of hundreds, where a plain exp overflows
  confident,   ///< softmax: the right logit leads by far, so that the loss is close to zero
  tiny,        ///< optimizer: gradients near Adam's epsilon, whose place in the formula then shows
  first_step,  ///< optimizer: slots still zero, bias corrections those of step 0
};

struct Case {
  std::string name;  ///< "conv2d.forward/n2_h14_w14_c32_k64_r3_s1_p1_bias_relu_stats": unique, stable, a seed
  OpDesc desc;       ///< in fp32; at_precision() makes the others
  Flavor flavor = Flavor::plain;
};

/// The whole table in a fixed order: grouped by operation in the order of all_operations().
const std::vector<Case>& all_cases();

/// Whether integer inputs give results that every order of summation computes exactly, so that outputs can be
/// compared bit for bit.
bool has_exact_tier(const Case& c);

/// FNV-1a of the name: the Philox seed of a case's data, and what thins cross products.
std::uint64_t hash_name(std::string_view name) noexcept;

}  // namespace quern::check
