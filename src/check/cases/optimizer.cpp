#include "check/cases/table.hpp"

namespace quern::check {
namespace {

/// The flat parameter vector: tensors of these sizes, each starting at a multiple of 64 elements as the graph
/// lays them out, or packed. Every other one is decayed, like weights between their biases.
struct Layout {
  std::string name;
  std::vector<std::int64_t> tensors;
  bool aligned = true;
};

std::int64_t lay_out(const Layout& layout, OptimizerAttrs& attrs) {
  std::int64_t end = 0;
  bool decay = true;
  for (const std::int64_t elements : layout.tensors) {
    if (layout.aligned) end = (end + 63) / 64 * 64;
    attrs.segments.push_back({end, elements, decay});
    end += elements;
    decay = !decay;
  }
  return layout.aligned ? (end + 63) / 64 * 64 : end;
}

void add(Table& table, const Layout& layout, OptimizerAttrs attrs, Flavor flavor = Flavor::plain) {
  const std::int64_t elements = lay_out(layout, attrs);
  const char* suffix = flavor == Flavor::constant     ? "_zero"
                       : flavor == Flavor::tiny       ? "_tiny"
                       : flavor == Flavor::first_step ? "_first"
                                                      : "";
  table.add(
      fmt::format("{}_{}{}{}{}{}", to_string(attrs.kind), layout.name,
                  attrs.momentum != OptimizerAttrs().momentum ? fmt::format("_mu{}", attrs.momentum) : "",
                  attrs.weight_decay > 0 ? fmt::format("_wd{}", attrs.weight_decay) : "",
                  attrs.clip_norm > 0 ? fmt::format("_clip{}", attrs.clip_norm) : "", suffix),
      optimizer_desc(elements, attrs), flavor);
}

}  // namespace

void add_optimizer_cases(Table& table) {
  const Layout lenet{"lenet", {150, 6, 2400, 16, 4800, 120, 1008, 84, 840, 10}};
  const Layout layouts[] = {lenet,
                            {"one", {1}},
                            {"pair", {1, 1}},
                            {"odd", {3, 5, 7, 11}},
                            {"packed", {3, 5, 7, 11, 64, 1}, false},
                            {"blocks", {255, 256, 257}},
                            {"edges", {1023, 1025, 1}},
                            {"many", std::vector<std::int64_t>(40, 9)}};
  for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::momentum, OptimizerKind::nesterov,
                                   OptimizerKind::adam, OptimizerKind::adamw}) {
    OptimizerAttrs attrs;
    attrs.kind = kind;
    for (const Layout& layout : layouts)
      for (const float decay : {0.0f, 0.0625f})
        for (const float clip : {0.0f, 0.5f, 1000.0f}) {  // clips always; never
          attrs.weight_decay = decay;
          attrs.clip_norm = clip;
          add(table, layout, attrs);
        }
    // A power of two for the momentum makes the step exact on integers.
    OptimizerAttrs halves = attrs;
    halves.momentum = 0.5f;
    if (attrs.slots() == 1)
      for (const Layout& layout : layouts)
        for (const float decay : {0.0f, 0.0625f}) {
          halves.weight_decay = decay;
          add(table, layout, halves);
        }
    for (const Flavor flavor : {Flavor::constant, Flavor::tiny, Flavor::first_step})
      for (const float decay : {0.0f, 0.0625f})
        for (const float clip : {0.0f, 0.5f}) {
          attrs.weight_decay = decay;
          attrs.clip_norm = clip;
          add(table, lenet, attrs, flavor);
        }
    // Tables in which a step is the only one, the last, or has others behind it.
    OptimizerAttrs advancing = halves;
    advancing.advance = true;
    for (const float clip : {0.0f, 0.5f})
      for (const std::int64_t steps : {1, 2, 3, 5, 938}) {
        advancing.clip_norm = clip;
        OptimizerAttrs laid_out = advancing;
        const std::int64_t elements = lay_out(lenet, laid_out);
        table.add(
            fmt::format("{}_lenet{}_advance{}", to_string(attrs.kind), clip > 0 ? "_clip0.5" : "", steps),
            optimizer_desc(elements, laid_out, steps));
      }
    // Steps that the guard lets pass, and others that it does not.
    OptimizerAttrs guarded = halves;
    guarded.guarded = true;
    for (const bool advance : {false, true})
      for (const float clip : {0.0f, 0.5f})
        for (const Flavor flavor : {Flavor::plain, Flavor::nan}) {
          guarded.advance = advance;
          guarded.clip_norm = clip;
          OptimizerAttrs laid_out = guarded;
          const std::int64_t elements = lay_out(lenet, laid_out);
          table.add(fmt::format("{}_lenet{}_guarded{}{}", to_string(attrs.kind), clip > 0 ? "_clip0.5" : "",
                                advance ? "_advance3" : "", flavor == Flavor::nan ? "_nan" : ""),
                    optimizer_desc(elements, laid_out, 3), flavor);
        }
    attrs.weight_decay = 0.0625f;
    attrs.clip_norm = 0;
    for (const int t : kTileSizes) add(table, {fmt::format("t{}", t), {t}, false}, attrs);
  }
}

}  // namespace quern::check
