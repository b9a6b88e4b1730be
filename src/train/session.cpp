#include "quern/session.hpp"

#include <algorithm>
#include <numeric>

#include "quern/error.hpp"
#include "train/partition.hpp"

namespace quern {

std::vector<ImplChoice> parse_impl_choices(const std::vector<std::string>& texts) {
  std::vector<ImplChoice> choices;
  for (const std::string& text : texts)
    for (std::size_t begin = 0; begin <= text.size();) {
      const std::size_t end = std::min(text.find(',', begin), text.size());
      choices.push_back(parse_impl_choice(std::string_view(text).substr(begin, end - begin)));
      begin = end + 1;
    }
  return choices;
}

std::vector<std::uint32_t> first_indices(std::int64_t count) {
  std::vector<std::uint32_t> indices(static_cast<std::size_t>(count));
  std::iota(indices.begin(), indices.end(), 0u);
  return indices;
}

Precision default_precision(const DeviceInfo& device) noexcept {
  return device.kind == DeviceKind::cuda && device.sm >= 80 ? Precision::tf32 : Precision::fp32;
}

Session::Session(ModelSpec spec, const SessionOptions& options)
    : Session(std::move(spec), options, open_device(options.device, options.threads),
              Registry::with_all_providers()) {}

Session::Session(ModelSpec spec, const SessionOptions& options, std::unique_ptr<Device> device,
                 Registry registry)
    : spec_(std::move(spec)),
      options_(options),
      layout_(weight_layout(spec_)),
      registry_(std::move(registry)),
      device_(std::move(device)),
      precision_(options.precision.value_or(default_precision(device_->info()))) {
  if (device_->info().kind == DeviceKind::cpu && precision_ != Precision::fp32)
    fail_input("--precision {}: the CPU computes in fp32 only; choose fp32 or auto", to_string(precision_));
  if (options_.allow_nondeterministic) device_->allow_nondeterministic();
  parse_impl_choices(options_.impls);  // a misspelt choice fails here, before any data is read
  const std::size_t bytes = static_cast<std::size_t>(layout_.total_elements) * sizeof(float);
  weights_ = Buffer(*device_, bytes);
  device_->fill(weights_.data(), 0, bytes, device_->stream());
  if (spec_.recipe.ema_decay > 0) {
    average_ = Buffer(*device_, bytes);
    device_->fill(average_.data(), 0, bytes, device_->stream());
  }
}

Session::~Session() = default;

std::string Session::device_name() const {
  const DeviceInfo& info = device_->info();
  return info.kind == DeviceKind::cuda ? fmt::format("cuda:{}", info.index) : to_string(info.kind);
}

void Session::initialize(std::uint64_t seed) {
  std::vector<float> values(static_cast<std::size_t>(layout_.total_elements));
  initialize_weights(layout_, seed, values);
  set_weights(values);
  if (average_) set_average(values);
}

void Session::set_weights(std::span<const float> weights) {
  QUERN_REQUIRE(weights.size_bytes() == weights_.size(), "{} bytes of weights for a model of {}",
                weights.size_bytes(), weights_.size());
  upload(weights_.data(), weights.data(), weights.size_bytes());
}

std::vector<float> Session::weights() {
  std::vector<float> values(static_cast<std::size_t>(layout_.total_elements));
  download(values.data(), weights_.data(), weights_.size());
  return values;
}

void Session::set_average(std::span<const float> average) {
  QUERN_REQUIRE(average_ && average.size_bytes() == average_.size(), "{} bytes of averages for a model of {}",
                average.size_bytes(), average_.size());
  upload(average_.data(), average.data(), average.size_bytes());
}

std::vector<float> Session::average() {
  if (!average_) return {};
  std::vector<float> values(static_cast<std::size_t>(layout_.total_elements));
  download(values.data(), average_.data(), average_.size());
  return values;
}

void Session::check_images(const Split& images, const char* what) const {
  check_image_size(spec_, images, what);
  QUERN_REQUIRE(
      static_cast<std::int64_t>(images.labels.size()) == images.count &&
          static_cast<std::int64_t>(images.images.size()) == images.count * images.pixels_per_image(),
      "{}: {} images, {} labels, {} bytes of pixels", what, images.count, images.labels.size(),
      images.images.size());
  const std::int64_t classes = output_classes(spec_);
  const auto bad = std::find_if(images.labels.begin(), images.labels.end(),
                                [&](std::uint8_t label) { return label >= classes; });
  if (bad != images.labels.end())
    fail_input("{}: image {} has label {}, but model '{}' has {} classes (0 to {})", what,
               bad - images.labels.begin(), *bad, spec_.name, classes, classes - 1);
}

std::unique_ptr<Executor> Session::make_executor(const GraphOptions& options, Bindings bindings) {
  GraphOptions effective = options;
  effective.precision = precision_;
  effective.fuse = options_.fuse;
  PlanOptions plan_options;
  plan_options.forced = parse_impl_choices(options_.impls);
  plan_options.chains.enabled = options_.fuse;
  effective.few_launches = wants_few_launches(device_->info(), plan_options.forced);
  Plan plan = make_plan(build_graph(spec_, effective), registry_, device_->info(), plan_options);
  if (leaves_to_auto(plan, plan_options)) {
    if (!times_) times_ = TimingCache::of_user();
    choose_by_time(plan, registry_, *device_, plan_options, *times_);
    times_->save();
  }
  auto executor = std::make_unique<Executor>(std::move(plan), *device_);
  executor->set_replay(options_.replay);
  if (executor->scratch_bytes() > scratch_.size()) {
    check_memory(*executor, effective);
    device_->synchronize(device_->stream());
    scratch_ = Buffer();  // before the larger one is asked for, so that both need not fit
    scratch_ = Buffer(*device_, executor->scratch_bytes());
    for (const Bound& bound : bound_) bound.executor->bind(bound.bindings, scratch_.data());
  }
  executor->bind(bindings, scratch_.data());
  bound_.push_back({executor.get(), std::move(bindings)});
  return executor;
}

void Session::check_memory(const Executor& executor, const GraphOptions& options) {
  const std::size_t free = device_->free_memory();
  const std::size_t available = free + scratch_.size();  // the scratch there is makes room for the new one
  if (free == 0 || executor.scratch_bytes() <= available) return;
  // The workspace is taken to stay what it is: preparing every smaller batch would cost more than the answer
  // is worth.
  const std::size_t workspace = executor.scratch_bytes() - executor.plan().arena_bytes;
  PlanOptions plan_options;
  plan_options.forced = parse_impl_choices(options_.impls);
  const auto fits = [&](std::int64_t batch) {
    GraphOptions smaller = options;
    smaller.batch = batch;
    return make_plan(build_graph(spec_, smaller), registry_, device_->info(), plan_options).arena_bytes +
               workspace <=
           available;
  };
  std::int64_t low = 0, high = options.batch;  // low fits (or is none), high does not
  while (high - low > 1) {
    const std::int64_t middle = low + (high - low) / 2;
    (fits(middle) ? low : high) = middle;
  }
  constexpr double kMiB = 1 << 20;
  fail_device(
      "{}: out of memory: {} of model '{}' in batches of {} needs {:.1f} MiB beside the weights, {:.1f} MiB "
      "are free; {}",
      device_name(), options.training ? "a training step" : "evaluation", spec_.name, options.batch,
      static_cast<double>(executor.scratch_bytes()) / kMiB, static_cast<double>(available) / kMiB,
      low > 0 ? fmt::format("a batch of {} would fit{}", low,
                            options.training ? fmt::format(": --batch {}", low) : "")
              : "not even a batch of 1 would fit");
}

void Session::forget(const Executor* executor) noexcept {
  std::erase_if(bound_, [&](const Bound& bound) { return bound.executor == executor; });
}

void Session::upload(void* device, const void* host, std::size_t bytes) {
  device_->copy_to_device(device, host, bytes, device_->stream());
  device_->synchronize(device_->stream());
}

void Session::download(void* host, const void* device, std::size_t bytes) {
  device_->copy_to_host(host, device, bytes, device_->stream());
  device_->synchronize(device_->stream());
}

DeviceImages::DeviceImages(Session& session, const Split& images, const char* what) : host_(&images) {
  session.check_images(images, what);
  if (session.device().info().kind == DeviceKind::cpu) {
    // Bindings are untyped and mutable; the graph only reads what is external.
    pixels_ = const_cast<std::uint8_t*>(images.images.data());
    labels_ = const_cast<std::uint8_t*>(images.labels.data());
    return;
  }
  pixel_buffer_ = Buffer(session.device(), images.images.size());
  label_buffer_ = Buffer(session.device(), images.labels.size());
  session.upload(pixel_buffer_.data(), images.images.data(), images.images.size());
  session.upload(label_buffer_.data(), images.labels.data(), images.labels.size());
  pixels_ = pixel_buffer_.data();
  labels_ = label_buffer_.data();
}

}  // namespace quern
