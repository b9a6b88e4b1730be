#include "quern/model_spec.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "quern/error.hpp"
#include "quern/graph.hpp"

namespace quern {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string error_of(const std::string& text) {
  try {
    parse_model_spec(text, "spec.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << "an error is one line";
    EXPECT_THAT(error.what(), HasSubstr("spec.json"));
    return error.what();
  }
  return "no error";
}

std::string with_layers(const std::string& layers) {
  return R"({"name": "m", "layers": [)" + layers + "]}";
}

const std::string kFlat = R"({"name": "flat", "op": "flatten"}, )";
const std::string kDense = R"({"name": "out", "op": "dense", "units": 10})";

TEST(ModelSpec, EveryPresetParsesAndRoundTrips) {
  const auto names = model_names();
  EXPECT_THAT(names, testing::IsSupersetOf({"lenet5", "mlp", "resnet-tiny", "seed", "seed-bn"}));
  for (const std::string& name : names) {
    const ModelSpec spec = load_model_spec(name);
    EXPECT_EQ(spec.name, name);
    EXPECT_EQ(output_classes(spec), 10);
    EXPECT_EQ(parse_model_spec(to_json(spec).dump(), "again"), spec) << name;
  }
}

TEST(ModelSpec, TheSeedHasTheSizesOfTheKerasScript) {
  // conv 3*3*1*32+32, conv 3*3*32*64+64, dense 3136*128+128, dense 128*10+10.
  std::int64_t parameters = 0;
  for (const LayerSummary& row : summarize(load_model_spec("seed"))) parameters += row.parameters;
  EXPECT_EQ(parameters, 320 + 18496 + 401536 + 1290);
  std::int64_t with_bn = 0, state = 0;
  for (const LayerSummary& row : summarize(load_model_spec("seed-bn"))) {
    with_bn += row.parameters;
    state += row.state;
  }
  EXPECT_EQ(with_bn, parameters + 2 * (32 + 64 + 128));
  EXPECT_EQ(state, 2 * (32 + 64 + 128));
}

TEST(ModelSpec, SamePaddingIsKeras) {
  const auto output = [](int in, int kernel, int stride) {
    const std::string text = R"({"name": "m", "input": {"shape": [)" + std::to_string(in) + ", " +
                             std::to_string(in) +
                             R"(, 1]}, "layers": [{"name": "c", "op": "conv2d", "filters": 2, "kernel": )" +
                             std::to_string(kernel) + R"(, "stride": )" + std::to_string(stride) +
                             R"(, "padding": "same"}, {"name": "g", "op": "global_avgpool"}]})";
    return summarize(parse_model_spec(text, "t"))[0].output[1];
  };
  for (int in : {1, 2, 5, 7, 28})
    for (int kernel : {1, 2, 3, 5})
      for (int stride : {1, 2, 3}) EXPECT_EQ(output(in, kernel, stride), (in + stride - 1) / stride);
}

TEST(ModelSpec, LayersMayBeListedInAnyOrderThatIsADag) {
  const ModelSpec spec = parse_model_spec(
      with_layers(
          R"({"name": "sum", "op": "add", "inputs": ["a", "b"]}, {"name": "b", "op": "relu", "inputs": ["input"]},
                     {"name": "a", "op": "relu", "inputs": ["input"]}, {"name": "flat", "op": "flatten", "inputs": ["sum"]},)" +
          kDense),
      "t");
  EXPECT_EQ(spec.layers.back().name, "out");
  EXPECT_EQ(spec.layers[2].name, "sum");
}

TEST(ModelSpec, BadSpecsSayWhatWhereAndWhatToDo) {
  EXPECT_THAT(error_of("{"), HasSubstr("not valid JSON"));
  EXPECT_THAT(error_of("[]"), HasSubstr("expected an object"));
  EXPECT_THAT(error_of(R"({"name": "m"})"), HasSubstr("'layers' is missing"));
  EXPECT_THAT(error_of(R"({"name": "a/b", "layers": []})"), HasSubstr("no model name"));
  EXPECT_THAT(error_of(with_layers("")), HasSubstr("at least one layer"));
  EXPECT_THAT(
      error_of(with_layers(kFlat + R"({"name": "x", "op": "dens", "units": 3})")),
      AllOf(HasSubstr("layer 'x'"), HasSubstr("unknown op 'dens'"), HasSubstr("did you mean 'dense'?")));
  EXPECT_THAT(error_of(with_layers(kFlat + R"({"name": "x", "op": "dense", "unit": 3})")),
              HasSubstr("'units' is missing"));
  EXPECT_THAT(error_of(with_layers(kFlat + R"({"name": "x", "op": "dense", "units": 3, "biass": true})")),
              AllOf(HasSubstr("unknown key 'biass'"), HasSubstr("did you mean 'bias'?")));
  EXPECT_THAT(error_of(with_layers(kFlat + R"({"name": "x", "op": "dense", "units": 0})")),
              HasSubstr("'units' must be a whole number from 1"));
  EXPECT_THAT(error_of(with_layers(kFlat + R"({"name": "x", "op": "dense", "units": 18446744073709551615})")),
              HasSubstr("'units' must be a whole number"));
  EXPECT_THAT(
      error_of(with_layers(
          R"({"name": "a", "op": "relu", "inputs": ["b"]}, {"name": "b", "op": "relu", "inputs": ["c"]},
                                      {"name": "c", "op": "add", "inputs": ["a", "input"]},
                                      {"name": "f", "op": "flatten", "inputs": ["c"]}, )" +
          kDense)),
      AllOf(HasSubstr("cycle"), HasSubstr("'a' reads 'b', 'b' reads 'c', 'c' reads 'a'"),
            Not(HasSubstr("'f'"))));
  EXPECT_THAT(error_of(with_layers(R"({"name": "a", "op": "flatten", "inputs": ["inptu"]}, )" + kDense)),
              AllOf(HasSubstr("'inptu', which does not exist"), HasSubstr("did you mean 'input'?")));
  EXPECT_THAT(error_of(with_layers(kFlat + kFlat + kDense)), HasSubstr("two layers are named 'flat'"));
  EXPECT_THAT(error_of(with_layers(R"({"name": "side", "op": "relu", "inputs": ["input"]},
                                      {"name": "flat", "op": "flatten", "inputs": ["input"]}, )" +
                                   kDense)),
              HasSubstr("nobody reads layer 'side'"));
  EXPECT_THAT(error_of(with_layers(kDense)), HasSubstr("put 'flatten'"));
  EXPECT_THAT(error_of(with_layers(R"({"name": "r", "op": "relu"})")),
              HasSubstr("must be a vector of logits"));
  EXPECT_THAT(error_of(with_layers(R"({"name": "c", "op": "conv2d", "filters": 2, "kernel": 40}, )" + kFlat +
                                   kDense)),
              AllOf(HasSubstr("layer 'c'"), HasSubstr("1x28x28x1")));
  EXPECT_THAT(error_of(with_layers(R"({"name": "c", "op": "conv2d", "filters": 3, "kernel": 1},
                                      {"name": "d", "op": "conv2d", "filters": 4, "kernel": 1, "groups": 2}, )" +
                                   kFlat + kDense)),
              HasSubstr("groups = 2 must divide"));
  EXPECT_THAT(error_of(with_layers(R"({"name": "p", "op": "maxpool2d", "kernel": 2, "padding": 2}, )" +
                                   kFlat + kDense)),
              HasSubstr("padding must be smaller than the window"));
  EXPECT_THAT(error_of(with_layers(R"({"name": "c", "op": "conv2d", "filters": 2, "kernel": 3},
                                      {"name": "s", "op": "add", "inputs": ["c", "input"]}, )" +
                                   kFlat + kDense)),
              HasSubstr("its inputs differ"));
  EXPECT_THAT(error_of(with_layers(R"({"name": "loss", "op": "flatten"}, )" + kDense)),
              HasSubstr("no layer name"));
  EXPECT_THAT(
      error_of(R"({"name": "m", "layers": [)" + kFlat + kDense + R"(], "recipe": {"optimizer": "adm"}})"),
      AllOf(HasSubstr("unknown optimizer 'adm'"), HasSubstr("did you mean 'adam'?")));
  EXPECT_THAT(
      error_of(R"({"name": "m", "layers": [)" + kFlat + kDense + R"(], "recipe": {"batch_size": 0}})"),
      HasSubstr("'batch_size' must be a whole number from 1"));
  EXPECT_THAT(error_of(std::string(100, '[')), HasSubstr("spec.json"));
}

// A cycle is said to be one even where it leaves 'input' or other layers unread.
TEST(ModelSpec, NamesTheLayersOfACycle) {
  EXPECT_THAT(error_of(with_layers(R"({"name": "a", "op": "flatten", "inputs": ["b"]},
                                      {"name": "b", "op": "relu", "inputs": ["a"]},
                                      {"name": "out", "op": "dense", "units": 2, "inputs": ["a"]})")),
              AllOf(HasSubstr("cycle: 'a' reads 'b', 'b' reads 'a';"), Not(HasSubstr("nobody reads"))));
  EXPECT_THAT(
      error_of(with_layers(R"({"name": "self", "op": "relu", "inputs": ["self"]}, )" + kFlat + kDense)),
      HasSubstr("cycle: 'self' reads 'self';"));
  // Layers behind the cycle wait for it, but are no part of it; neither is one that nobody reads.
  EXPECT_THAT(error_of(with_layers(R"({"name": "late", "op": "flatten", "inputs": ["b"]},
                                      {"name": "a", "op": "add", "inputs": ["input", "b"]},
                                      {"name": "b", "op": "relu", "inputs": ["a"]},
                                      {"name": "side", "op": "relu", "inputs": ["input"]},
                                      {"name": "out", "op": "dense", "units": 2, "inputs": ["late"]})")),
              AllOf(HasSubstr("'a' reads 'b'"), HasSubstr("'b' reads 'a'"), Not(HasSubstr("'late'"))));
  std::string ring;
  for (int i = 0; i < 400; ++i)
    ring += fmt::format(R"({{"name": "layer{}", "op": "relu", "inputs": ["layer{}"]}}, )", i, (i + 1) % 400);
  EXPECT_LT(error_of(with_layers(ring + kFlat + kDense)).size(), 800u);
}

TEST(ModelSpec, UnknownPresetIsAnInputErrorWithASuggestion) {
  try {
    load_model_spec("sed-bn");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("unknown model 'sed-bn'"), HasSubstr("did you mean 'seed-bn'?")));
  }
}

TEST(Recipe, SchedulesFollowTheirFormulas) {
  Recipe recipe;
  recipe.learning_rate = 0.5f;
  const auto lr = [&](long step) { return learning_rate_at(recipe, step, 100, 10); };
  EXPECT_DOUBLE_EQ(lr(0), 0.5);
  EXPECT_DOUBLE_EQ(lr(99), 0.5);
  recipe.schedule.kind = ScheduleKind::cosine;
  EXPECT_DOUBLE_EQ(lr(0), 0.5);
  EXPECT_NEAR(lr(50), 0.25, 1e-12);
  EXPECT_NEAR(lr(100), 0.0, 1e-12);
  recipe.schedule.warmup_epochs = 2;
  EXPECT_NEAR(lr(0), 0.5 / 20, 1e-12);
  EXPECT_NEAR(lr(19), 0.5, 1e-12);
  EXPECT_NEAR(lr(60), 0.25, 1e-12);
  recipe.schedule = {ScheduleKind::step};
  recipe.schedule.milestones = {3, 6};
  EXPECT_DOUBLE_EQ(lr(29), 0.5);
  EXPECT_NEAR(lr(30), 0.05, 1e-8);
  EXPECT_NEAR(lr(60), 0.005, 1e-8);
  recipe.schedule = {ScheduleKind::one_cycle};
  recipe.schedule.warm_fraction = 0.5f;
  recipe.schedule.initial_fraction = 0.1f;
  EXPECT_NEAR(lr(0), 0.05, 1e-7);
  EXPECT_NEAR(lr(25), 0.275, 1e-7);
  EXPECT_NEAR(lr(50), 0.5, 1e-7);
  EXPECT_NEAR(lr(75), 0.25, 1e-7);
}

TEST(Weights, InitialValuesDependOnTheSeedAlone) {
  const WeightLayout layout = weight_layout(load_model_spec("seed-bn"));
  std::vector<float> a(static_cast<std::size_t>(layout.total_elements)), b(a.size()), c(a.size());
  initialize_weights(layout, 1, a);
  initialize_weights(layout, 1, b);
  initialize_weights(layout, 2, c);
  EXPECT_EQ(a, b);
  EXPECT_NE(a, c);
  const WeightTensor& weight = layout.find("conv2.weight");
  const double limit = std::sqrt(6.0 / (9.0 * 32 + 9.0 * 64));
  double sum = 0, largest = 0;
  for (std::int64_t i = 0; i < weight.shape.elements(); ++i) {
    const double value = static_cast<double>(a[static_cast<std::size_t>(weight.offset + i)]);
    sum += value * value;
    largest = std::max(largest, std::abs(value));
  }
  EXPECT_LE(largest, limit);
  EXPECT_GT(largest, 0.99 * limit);
  EXPECT_NEAR(sum / static_cast<double>(weight.shape.elements()), limit * limit / 3,
              0.03 * limit * limit / 3);
  EXPECT_EQ(a[static_cast<std::size_t>(layout.find("bn1.gamma").offset)], 1.0f);
  EXPECT_EQ(a[static_cast<std::size_t>(layout.find("bn1.running_var").offset)], 1.0f);
  EXPECT_GE(layout.find("bn1.running_mean").offset, layout.trained_elements);
}

}  // namespace
}  // namespace quern
