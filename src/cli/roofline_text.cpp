#include "cli/roofline_text.hpp"

#include <fmt/format.h>

namespace quern::cli {

std::string describe_roofline(const Roofline& roofline) {
  std::string text =
      fmt::format("roofline, measured here: {:.1f} GB/s over {:.0f} MB, {:.0f} Gflop/s fp32",
                  roofline.bandwidth / 1e9, roofline.footprint / 1e6, roofline.fp32_flops / 1e9);
  if (roofline.tf32_flops > 0) text += fmt::format(", {:.0f} tf32", roofline.tf32_flops / 1e9);
  if (roofline.bf16_flops > 0) text += fmt::format(", {:.0f} bf16 (mma.sync)", roofline.bf16_flops / 1e9);
  return text + "\n";
}

nlohmann::json to_json(const Roofline& roofline) {
  return {{"bandwidth", roofline.bandwidth},
          {"footprint", roofline.footprint},
          {"fp32_flops", roofline.fp32_flops},
          {"tf32_flops", roofline.tf32_flops},
          {"bf16_flops", roofline.bf16_flops}};
}

}  // namespace quern::cli
