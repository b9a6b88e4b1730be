#include "data/dataset_files.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <system_error>

#include "data/idx.hpp"
#include "io/text.hpp"
#include "quern/error.hpp"
#include "quern/file.hpp"
#include "quern/suggest.hpp"

namespace quern {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMnist = "mnist";
constexpr const char* kFashion = "fashion-mnist";
constexpr const char* kFashionPackage = "dataset-fashion-mnist";
constexpr int kMostClasses = 256;  // labels are bytes

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

/// "train-images" and 3: the first name of that file which the folder has, plain before compressed.
std::optional<fs::path> find_idx(const fs::path& folder, const char* stem, int rank) {
  for (const char* suffix : {"", ".gz"})
    for (const char separator : {'-', '.'})
      if (fs::path path = folder / fmt::format("{}{}idx{}-ubyte{}", stem, separator, rank, suffix);
          is_file(path))
        return path;
  return std::nullopt;
}

struct NamedArray {
  fs::path path;
  IdxArray array;
};

NamedArray load_required(const fs::path& folder, const char* stem, int rank) {
  const std::optional<fs::path> path = find_idx(folder, stem, rank);
  if (!path)
    fail_input(
        "{} has no {}-idx{}-ubyte, plain or with .gz: put the four files of the data set there, or name "
        "another folder",
        quote_path(folder), stem, rank);
  return {*path, load_idx(*path)};
}

Split load_split(const fs::path& folder, const std::string& prefix, int classes) {
  NamedArray images = load_required(folder, (prefix + "-images").c_str(), 3);
  NamedArray labels = load_required(folder, (prefix + "-labels").c_str(), 1);
  const std::vector<std::int64_t>& extents = images.array.extents;
  if (extents.size() != 3 && extents.size() != 4)
    fail_input("{} has {} dimensions ({}), images have 3 (N,H,W) or 4 (N,H,W,C); is it the right file?",
               quote_path(images.path), extents.size(), fmt::join(extents, "x"));
  if (labels.array.extents.size() != 1)
    fail_input("{} has {} dimensions ({}), labels have 1; is it the right file?", quote_path(labels.path),
               labels.array.extents.size(), fmt::join(labels.array.extents, "x"));
  if (extents[0] != labels.array.extents[0])
    fail_input("{} holds {} images, but {} holds {} labels: they belong to different sets",
               quote_path(images.path), extents[0], quote_path(labels.path), labels.array.extents[0]);
  const auto& values = labels.array.values;
  const auto bad =
      std::find_if(values.begin(), values.end(), [&](std::uint8_t label) { return label >= classes; });
  if (bad != values.end())
    fail_input(
        "{}: label {} at index {} is out of range, expected 0 to {}; if the set has more classes, list their "
        "names, one a line, in {}",
        quote_path(labels.path), *bad, bad - values.begin(), classes - 1, quote_path(folder / "classes.txt"));
  Split split;
  split.count = extents[0];
  split.height = extents[1];
  split.width = extents[2];
  split.channels = extents.size() == 4 ? extents[3] : 1;
  split.images = std::move(images.array.values);
  split.labels = std::move(labels.array.values);
  return split;
}

std::vector<std::string> digits() {
  std::vector<std::string> names;
  names.reserve(10);
  for (int digit = 0; digit < 10; ++digit) names.push_back(std::to_string(digit));
  return names;
}

std::vector<std::string> fashion_names() {
  return {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
          "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};
}

std::vector<std::string> read_class_names(const fs::path& file) {
  constexpr std::uint64_t kLongestFile = 64 * 1024;
  const std::vector<std::byte> content = read_file(file, kLongestFile);
  std::vector<std::string> names(1);
  for (const std::byte byte : content) {
    const char c = static_cast<char>(byte);
    if (c == '\n') {
      names.emplace_back();
    } else if (c != '\r') {
      if (static_cast<unsigned char>(c) < 0x20)
        fail_input(
            "{} is not a list of class names: line {} has a control character; put one name on each line",
            quote_path(file), names.size());
      names.back() += c;
    }
  }
  std::erase(names, "");
  if (names.empty() || names.size() > kMostClasses)
    fail_input("{} lists {} classes, expected 1 to {}; put one name on each line", quote_path(file),
               names.size(), kMostClasses);
  return names;
}

std::vector<std::string> class_names_of(const fs::path& folder) {
  if (is_file(folder / "classes.txt")) return read_class_names(folder / "classes.txt");
  std::error_code ignored;
  return fs::weakly_canonical(folder, ignored).filename() == kFashion ? fashion_names() : digits();
}

/// The folder of the package's training images, from dpkg's list of its files.
std::optional<fs::path> package_folder(const DatasetPlaces& places) {
  std::ifstream list(places.dpkg_info / fmt::format("{}.list", kFashionPackage));
  for (std::string line; std::getline(list, line);) {
    fs::path path(line);
    if (path.filename().string().starts_with("train-images")) return path.parent_path();
  }
  return std::nullopt;
}

[[noreturn]] void fail_not_found(std::string_view name, const std::vector<fs::path>& folders) {
  std::vector<std::string> places;
  places.reserve(folders.size());
  for (const fs::path& folder : folders) places.push_back(quote_path(folder));
  const char* advice = name == kFashion
                           ? "apt-get install dataset-fashion-mnist, or give its folder"
                           : "give the folder with its four files, or set QUERN_DATA to the folder above it";
  fail_input("data set {} not found (looked in {}): {}", name, fmt::join(places, ", "), advice);
}

}  // namespace

DatasetPlaces DatasetPlaces::of_process() {
  DatasetPlaces places;
  if (const char* data = std::getenv("QUERN_DATA"); data != nullptr && *data != '\0')
    places.environment = data;
  places.working_folder = ".";
  std::error_code ignored;
  places.program_folder = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  places.source_data = QUERN_DEFAULT_DATA_DIR;
  places.debian_data = "/usr/share/datasets";
  places.dpkg_info = "/var/lib/dpkg/info";
  return places;
}

std::vector<fs::path> dataset_folders(std::string_view name, const DatasetPlaces& places) {
  std::vector<fs::path> folders;
  if (places.environment) folders.push_back(*places.environment / name);
  folders.push_back(places.working_folder / "data" / name);
  if (!places.program_folder.empty()) {
    const fs::path prefix = places.program_folder.parent_path();
    folders.push_back(prefix / "data" / name);
    folders.push_back(prefix / "share/quern" / name);
  }
  folders.push_back(places.source_data / name);
  if (name == kFashion) {
    folders.push_back(places.debian_data / name);
    if (const auto folder = package_folder(places); folder && *folder != folders.back())
      folders.push_back(*folder);
  }
  return folders;
}

bool holds_dataset(const fs::path& folder) {
  return find_idx(folder, "train-images", 3).has_value();
}

Dataset load_folder(const fs::path& folder, std::string name, std::vector<std::string> class_names,
                    DatasetParts parts) {
  Dataset set;
  set.name = std::move(name);
  set.path = folder;
  set.class_names = class_names.empty() ? class_names_of(folder) : std::move(class_names);
  set.classes = static_cast<int>(set.class_names.size());
  set.train = load_split(folder, "train", set.classes);
  if (parts == DatasetParts::training) return set;
  set.test = load_split(folder, "t10k", set.classes);
  const Split &a = set.train, &b = set.test;
  if (a.height != b.height || a.width != b.width || a.channels != b.channels)
    fail_input("{}: training images are {}x{}x{}, test images {}x{}x{}: they belong to different sets",
               quote_path(folder), a.height, a.width, a.channels, b.height, b.width, b.channels);
  return set;
}

Dataset load_dataset(std::string_view spec, const DatasetPlaces& places, DatasetParts parts) {
  if (spec == kMnist || spec == kFashion) {
    const std::vector<fs::path> folders = dataset_folders(spec, places);
    const auto found = std::find_if(folders.begin(), folders.end(), holds_dataset);
    if (found == folders.end()) fail_not_found(spec, folders);
    return load_folder(*found, std::string(spec), spec == kMnist ? digits() : fashion_names(), parts);
  }
  const fs::path folder(spec);
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored))
    fail_input(
        "no data set {}: give {}, {}, or a folder with train-images-idx3-ubyte and the three files beside "
        "it{}",
        quote_path(folder), kMnist, kFashion,
        did_you_mean(spec, std::array{std::string(kMnist), std::string(kFashion)}));
  fs::path name = fs::weakly_canonical(folder, ignored).filename();
  return load_folder(folder, name.string(), {}, parts);
}

Dataset load_dataset(std::string_view spec) {
  return load_dataset(spec, DatasetPlaces::of_process());
}

Dataset load_training_set(std::string_view spec) {
  return load_dataset(spec, DatasetPlaces::of_process(), DatasetParts::training);
}

PixelStatistics pixel_statistics(std::span<const std::uint8_t> pixels) {
  std::uint64_t sum = 0, squares = 0;
  for (const std::uint8_t pixel : pixels) {
    sum += pixel;
    squares += std::uint64_t{pixel} * pixel;
  }
  if (pixels.empty()) return {};
  const double count = static_cast<double>(pixels.size());
  const double mean = static_cast<double>(sum) / count;
  const double variance = static_cast<double>(squares) / count - mean * mean;
  return {mean / 255, std::sqrt(std::max(variance, 0.0)) / 255};
}

}  // namespace quern
