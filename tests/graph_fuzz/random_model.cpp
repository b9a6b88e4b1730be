#include "tests/graph_fuzz/random_model.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>
#include <vector>

#include "quern/error.hpp"

namespace quern::test {
namespace {

using nlohmann::json;

/// What a layer gives: an image, or a vector with h = w = 0.
struct Output {
  std::string name;
  int h = 0, w = 0, c = 0;
  bool read = false;
  bool image() const { return h > 0; }
  bool same_shape(const Output& other) const { return h == other.h && w == other.w && c == other.c; }
};

class Generator {
 public:
  explicit Generator(std::uint64_t seed) : random_(seed) {}

  json make() {
    wide_ = chance(8);
    const int extent = wide_ ? 18 : 12;
    outputs_.push_back({"input", between(1, extent), between(1, extent), one_of({1, 1, 2, 3, 4, 5, 8})});
    const Output input = outputs_[0];
    for (int layers = between(1, 11); layers > 0; --layers) add_layer();
    merge_ends();
    if (chance(30)) {
      // Written in any order: the parser sorts them. The last stays last, for it is the output.
      for (std::size_t i = layers_.size() - 1; i > 1; --i) std::swap(layers_[i - 1], layers_[below(i)]);
    }
    return {{"name", "random"},
            {"input",
             {{"shape", {input.h, input.w, input.c}},
              {"mean", one_of({0, 25, 50}) / 100.0},
              {"std", one_of({25, 50, 100}) / 100.0}}},
            {"layers", layers_},
            {"recipe", recipe()}};
  }

 private:
  std::size_t below(std::size_t bound) { return random_() % bound; }
  int between(int low, int high) {
    return low + static_cast<int>(below(static_cast<std::size_t>(high - low + 1)));
  }
  bool chance(int percent) { return between(1, 100) <= percent; }
  int one_of(std::initializer_list<int> values) { return values.begin()[below(values.size())]; }

  /// Mostly what came last, so that chains grow long; sometimes anything, so that they branch.
  std::size_t source() { return chance(70) ? outputs_.size() - 1 : below(outputs_.size()); }

  void append(const char* op, json fields, std::vector<std::size_t> from, Output output) {
    fields["name"] = output.name = fmt::format("{}{}", op, layers_.size());
    output.read = false;
    fields["op"] = op;
    fields["inputs"] = json::array();
    for (const std::size_t index : from) {
      fields["inputs"].push_back(outputs_[index].name);
      outputs_[index].read = true;
    }
    layers_.push_back(std::move(fields));
    outputs_.push_back(std::move(output));
  }

  void add_layer() {
    const std::size_t from = source();
    const Output x = outputs_[from];
    const int kind = between(0, 99);
    if (kind < 14) return append("relu", {}, {from}, x);
    if (kind < 28) return append("batchnorm", batchnorm(), {from}, x);
    if (kind < 33) return append("dropout", {{"rate", between(0, 6) / 10.0}}, {from}, x);
    if (kind < 48) return add_sum(from);
    if (!x.image()) return add_dense(from, between(1, wide_ ? 100 : 20));
    if (kind < 76) return add_conv(from);
    if (kind < 94) return add_pool(from);
    if (kind < 97) return append("global_avgpool", {}, {from}, {"", 0, 0, x.c});
    add_flatten(from);
  }

  json batchnorm() {
    return {{"momentum", between(0, 10) / 10.0}, {"epsilon", one_of({1, 10, 100}) / 1000.0}};
  }

  void add_sum(std::size_t from) {
    std::vector<std::size_t> fitting;
    for (std::size_t i = 0; i < outputs_.size(); ++i)
      if (outputs_[i].same_shape(outputs_[from])) fitting.push_back(i);  // itself too: x + x
    append("add", {}, {from, fitting[below(fitting.size())]}, outputs_[from]);
  }

  void add_dense(std::size_t from, int units) {
    append("dense", {{"units", units}, {"bias", chance(70)}}, {from}, {"", 0, 0, units});
  }

  void add_flatten(std::size_t from) {
    const Output& x = outputs_[from];
    append("flatten", {}, {from}, {"", 0, 0, x.h * x.w * x.c});
  }

  /// Kernel, stride, dilation and padding of one axis of `extent`; drawn anew until a window fits.
  struct Axis {
    int kernel, stride, dilation, before, after, out;
  };
  Axis axis(int extent, int max_kernel, bool dilated, int max_padding) {
    for (;;) {
      Axis a{between(1, max_kernel), one_of({1, 1, 1, 2, 2, 3}), dilated ? one_of({1, 1, 1, 2}) : 1, 0, 0, 0};
      a.before = between(0, std::min(max_padding, a.kernel - 1));
      a.after = between(0, std::min(max_padding, a.kernel - 1));
      const int room = extent + a.before + a.after - ((a.kernel - 1) * a.dilation + 1);
      if (room < 0) continue;
      a.out = room / a.stride + 1;
      return a;
    }
  }

  /// The window's fields; "same" and "valid" are said by name where they are meant.
  Output window(json& fields, const Output& x, int max_kernel, bool dilated) {
    const int padding = one_of({0, 1, 2, 3});
    Axis h = axis(x.h, max_kernel, dilated, padding), w = axis(x.w, max_kernel, dilated, padding);
    fields["kernel"] = {h.kernel, w.kernel};
    fields["stride"] = {h.stride, w.stride};
    if (dilated) fields["dilation"] = {h.dilation, w.dilation};
    const bool even_dilation = h.dilation == 1 && w.dilation == 1;
    if (padding == 0) {
      fields["padding"] = "valid";
    } else if (padding == 1 && even_dilation) {
      fields["padding"] = "same";
      h.out = (x.h + h.stride - 1) / h.stride;
      w.out = (x.w + w.stride - 1) / w.stride;
    } else {
      fields["padding"] = {h.before, w.before, h.after, w.after};
    }
    return {"", h.out, w.out, x.c};
  }

  void add_conv(std::size_t from) {
    const Output x = outputs_[from];
    json fields{{"bias", chance(70)}};
    Output y = window(fields, x, one_of({1, 3, 3, 5}), /*dilated=*/true);
    y.c = wide_ ? one_of({8, 16, 24, 32, 33, 64}) : one_of({1, 2, 3, 4, 4, 6, 8, 8, 9, 16});
    int groups = 1;
    if (chance(30))
      for (groups = one_of({2, 3, 4, 8}); x.c % groups != 0 || y.c % groups != 0;) --groups;
    fields["groups"] = groups;
    // Products of one image; the emulator has to do them all.
    const int most = wide_ ? 300'000 : 60'000;
    const int window_size = fields["kernel"][0].get<int>() * fields["kernel"][1].get<int>();
    while (y.h * y.w * window_size * x.c * y.c / groups > most && y.c / 2 >= groups)
      y.c = y.c / 2 / groups * groups;
    fields["filters"] = y.c;
    append("conv2d", std::move(fields), {from}, y);
  }

  void add_pool(std::size_t from) {
    const bool max = chance(50);
    json fields = json::object();
    const Output y = window(fields, outputs_[from], one_of({1, 2, 2, 3}), /*dilated=*/false);
    if (!max) fields["count_include_pad"] = chance(50);
    append(max ? "maxpool2d" : "avgpool2d", std::move(fields), {from}, y);
  }

  /// Every output that nobody reads becomes logits; their sum is the model's.
  void merge_ends() {
    const int classes = between(2, 11);
    std::size_t sum = 0;
    for (std::size_t i = 0, ends = outputs_.size(); i < ends; ++i) {
      if (outputs_[i].read) continue;
      std::size_t end = i;
      if (outputs_[end].image()) {
        const Output& x = outputs_[end];
        if (x.h * x.w * x.c > 400 || chance(30)) {
          append("global_avgpool", {}, {end}, {"", 0, 0, x.c});
        } else {
          add_flatten(end);
        }
        end = outputs_.size() - 1;
      }
      add_dense(end, classes);
      end = outputs_.size() - 1;
      if (sum != 0) append("add", {}, {sum, end}, outputs_[end]);
      sum = outputs_.size() - 1;
    }
    if (chance(10)) append("batchnorm", batchnorm(), {sum}, outputs_[sum]);
    if (chance(5)) append("relu", {}, {outputs_.size() - 1}, outputs_.back());
  }

  json recipe() {
    static constexpr const char* kOptimizers[] = {"sgd", "momentum", "nesterov", "adam", "adamw"};
    json recipe{{"optimizer", kOptimizers[below(5)]},
                {"batch_size", between(1, wide_ ? 20 : 13)},
                {"learning_rate", one_of({1, 5, 20}) / 1000.0}};
    if (chance(40)) recipe["weight_decay"] = 0.01;
    if (chance(30)) recipe["clip_norm"] = one_of({1, 10}) / 2.0;
    if (chance(30)) recipe["label_smoothing"] = 0.1;
    if (chance(30)) recipe["ema_decay"] = 0.9;
    if (chance(15))
      recipe["augment"] = {{"shift", 1},   {"rotate", 10}, {"scale", 0.1}, {"shear", 5},
                           {"elastic", 1}, {"erase", 3},   {"flip", 0.5},  {"crop", 1}};
    return recipe;
  }

  std::mt19937_64 random_;  // whose numbers the C++ standard fixes
  bool wide_ = false;       // large enough for several tiles of a kernel
  std::vector<Output> outputs_;
  json layers_ = json::array();
};

}  // namespace

RandomModel random_model(std::uint64_t seed) {
  RandomModel model;
  model.seed = seed;
  model.json = Generator(seed).make().dump();
  model.spec = parse_model_spec(model.json, fmt::format("random model {}", seed));
  return model;
}

}  // namespace quern::test
