#include "check/cases/table.hpp"

namespace quern::check {
namespace {

void add(Table& table, int n, int classes, float smoothing, bool gradient, Flavor flavor = Flavor::plain,
         bool metrics = false, bool gather = false) {
  SoftmaxXentAttrs attrs;
  attrs.gather = gather;
  attrs.metrics = metrics;
  attrs.label_smoothing = smoothing;
  attrs.gradient = gradient;
  attrs.gradient_scale = 1.0f / static_cast<float>(n);
  table.add(
      fmt::format("n{}_c{}{}{}{}{}{}", n, classes, smoothing > 0 ? fmt::format("_smooth{}", smoothing) : "",
                  gradient ? "_grad" : "", metrics ? "_metrics" : "", gather ? "_gather" : "",
                  flavor == Flavor::large       ? "_large"
                  : flavor == Flavor::confident ? "_confident"
                  : flavor == Flavor::nan       ? "_nan"
                                                : ""),
      softmax_xent_desc(n, classes, attrs), flavor);
}

}  // namespace

void add_softmax_xent_cases(Table& table) {
  for (const bool gradient : {false, true})
    for (const float smoothing : {0.0f, 0.1f}) {
      for (const int n : {1, 2, 3, 7, 17, 31, 32, 33, 63, 64, 65, 128, 257})
        add(table, n, 10, smoothing, gradient);
      for (const int classes :
           {1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 1000, 1025})
        add(table, 5, classes, smoothing, gradient);
      for (const Flavor flavor : {Flavor::large, Flavor::confident})
        for (const auto& [n, classes] :
             {std::array{1, 2}, std::array{9, 10}, std::array{64, 10}, std::array{3, 100}})
          add(table, n, classes, smoothing, gradient, flavor);
    }
  for (const bool gradient : {false, true})
    for (const Flavor flavor : {Flavor::plain, Flavor::nan, Flavor::confident}) {
      for (const int n : {1, 7, 8, 9, 64, 65, 257, 1025, 2100}) add(table, n, 10, 0, gradient, flavor, true);
      for (const int classes : {1, 2, 8, 9, 17, 33, 130})
        add(table, 19, classes, 0.1f, gradient, flavor, true);
    }
  for (const bool metrics : {false, true})
    for (const int n : {1, 8, 33, 64, 257}) add(table, n, 10, 0.1f, true, Flavor::plain, metrics, true);
  add(table, 64, 10, 0, false, Flavor::confident, true, true);
  // All the mass on the uniform part, and a gradient that is not a mean's.
  add(table, 13, 10, 1.0f, true);
  SoftmaxXentAttrs attrs;
  attrs.gradient = true;
  for (const float scale : {1.0f, -2.0f, 0.0f}) {
    attrs.gradient_scale = scale;
    table.add(fmt::format("n13_c10_grad_scale{}", scale), softmax_xent_desc(13, 10, attrs));
  }
}

}  // namespace quern::check
