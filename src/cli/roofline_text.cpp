#include "cli/roofline_text.hpp"

#include <fmt/format.h>

namespace quern::cli {

std::string describe_roofline(const Roofline& roofline) {
  std::string text = fmt::format("roofline, measured here: {:.0f} Gflop/s fp32", roofline.fp32_flops / 1e9);
  if (roofline.tf32_flops > 0) text += fmt::format(", {:.0f} tf32", roofline.tf32_flops / 1e9);
  if (roofline.bf16_flops > 0) text += fmt::format(", {:.0f} bf16 (mma.sync)", roofline.bf16_flops / 1e9);
  text += fmt::format("; {:.1f} GB/s over {:.0f} MB", roofline.bandwidth / 1e9, roofline.footprint / 1e6);
  for (const Roofline::Cached& cached : roofline.caches)
    text += fmt::format(", {:.1f} over {:.0f}", cached.bandwidth / 1e9, cached.footprint / 1e6);
  return text + "\n";
}

}  // namespace quern::cli
