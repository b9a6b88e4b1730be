/// What a checkpoint's metadata and --model hold: model specs, run settings and training states as JSON. What
/// can be read must survive being written and read again.

#include <algorithm>
#include <nlohmann/json.hpp>

#include "quern/graph.hpp"
#include "quern/model_spec.hpp"
#include "tests/fuzz/fuzz_target.hpp"
#include "train/run_json.hpp"

using namespace quern;

namespace {

void read_spec(std::string_view text) {
  fuzz::expect_success_or_input_error([&] {
    const ModelSpec spec = parse_model_spec(text, "fuzz.json");
    if (parse_model_spec(to_json(spec).dump(), "again") != spec) fuzz::fail("a spec changed");
    const WeightLayout layout = weight_layout(spec);
    std::int64_t end = 0;
    for (const WeightTensor& tensor : layout.tensors) {
      if (tensor.offset < end || tensor.shape.elements() < 1) fuzz::fail("weights overlap");
      end = tensor.offset + tensor.shape.elements();
    }
    if (layout.total_elements < end) fuzz::fail("weights beyond their end");
    if (summarize(spec).size() != spec.layers.size()) fuzz::fail("a layer was lost");
  });
}

template <class Parse>
void read_record(std::string_view text, Parse parse) {
  fuzz::expect_success_or_input_error([&] {
    const std::string once = to_json(parse(text, "fuzz.json")).dump();
    if (to_json(parse(once, "again")).dump() != once) fuzz::fail("a record changed");
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  read_spec(text);
  read_record(text, parse_run_settings);
  read_record(text, parse_train_state);
  return 0;
}

std::vector<fuzz::Bytes> fuzz::seeds() {
  RunSettings run;
  run.class_names = {"zero", "one"};
  run.impls = {"conv2d.forward=reference"};
  TrainState state;
  state.lowest_loss = 0.5;
  return {text(R"({"name":"a","input":{"shape":[8,8,1],"mean":0.13,"std":0.3},"layers":[
{"name":"c","op":"conv2d","filters":4,"kernel":[3,2],"stride":2,"padding":"same","groups":1,"dilation":1,"bias":false},
{"name":"b","op":"batchnorm","momentum":0.9,"epsilon":0.001},{"name":"r","op":"relu"},
{"name":"p","op":"maxpool2d","kernel":2},{"name":"f","op":"flatten"},{"name":"d","op":"dropout","rate":0.5},
{"name":"l","op":"dense","units":10}],"recipe":{"epochs":2,"batch_size":16,"optimizer":"adamw","learning_rate":0.01,
"weight_decay":0.1,"schedule":{"kind":"one_cycle"},"augment":{"shift":2,"rotate":10},"ema_decay":0.9}})"),
          text(R"({"name":"b","input":{"shape":[4,4,2]},"layers":[
{"name":"a","op":"conv2d","filters":2,"kernel":3,"padding":[1,0,2,1]},{"name":"s","op":"add","inputs":["a","a"]},
{"name":"q","op":"avgpool2d","kernel":2,"stride":1},{"name":"g","op":"global_avgpool"},
{"name":"l","op":"dense","units":3}],"recipe":{"schedule":{"kind":"step","milestones":[1,2],"gamma":0.5}}})"),
          text(R"({"name":"c","input":{"shape":[65536,65536,65536]},"layers":[
{"name":"l","op":"conv2d","filters":1048576,"kernel":65536},{"name":"g","op":"global_avgpool"}]})"),
          text("[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]"),
          text(R"({"name":"\u0000\n","layers":{},"layers":[]})"),
          text(to_json(run).dump()),
          text(to_json(state).dump())};
}

// A tree of JSON takes a hundred bytes a value; a layer of a spec some hundreds.
std::size_t fuzz::allocation_limit(std::size_t input_bytes) {
  return 64 * input_bytes + (256 << 10);
}
