#include "quern/dataset.hpp"

#include <algorithm>
#include <array>
#include <numeric>

#include "data/dataset_files.hpp"
#include "tests/data/idx_samples.hpp"
#include "tests/io/temporary_folder.hpp"

namespace quern {
namespace {

namespace fs = std::filesystem;
using test::counting;
using test::expect_error;
using test::gzip;
using test::make_idx;
using test::put;
using test::TemporaryFolder;

const fs::path kMnist = fs::path(QUERN_SOURCE_DIR) / "data/mnist";

/// A set of four training images and two test images of 3 x 2 pixels.
void put_small_set(const fs::path& folder) {
  fs::create_directories(folder);
  put(folder / "train-images-idx3-ubyte", make_idx({4, 3, 2}, counting(24)));
  put(folder / "train-labels-idx1-ubyte", make_idx({4}, std::vector<std::uint8_t>{0, 9, 3, 3}));
  put(folder / "t10k-images-idx3-ubyte", make_idx({2, 3, 2}, counting(12)));
  put(folder / "t10k-labels-idx1-ubyte", make_idx({2}, std::vector<std::uint8_t>{7, 1}));
}

DatasetPlaces nowhere(const TemporaryFolder& folder) {
  return {std::nullopt,      folder / "work",   folder / "prefix/bin",
          folder / "source", folder / "debian", folder / "dpkg"};
}

TEST(LoadDataset, ReadsTheRealMnist) {
  const Dataset set = load_dataset("mnist");
  EXPECT_EQ(set.name, "mnist");
  EXPECT_EQ(set.classes, 10);
  EXPECT_THAT(set.class_names, testing::ElementsAre("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"));
  const auto check = [](const Split& split, std::int64_t count, std::array<int, 10> histogram) {
    EXPECT_EQ(split.count, count);
    EXPECT_EQ(split.height, 28);
    EXPECT_EQ(split.width, 28);
    EXPECT_EQ(split.channels, 1);
    EXPECT_EQ(std::ssize(split.images), count * 28 * 28);
    std::array<int, 10> found{};
    for (const std::uint8_t label : split.labels) ++found.at(label);
    EXPECT_EQ(found, histogram);
  };
  check(set.train, 60000, {5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949});
  check(set.test, 10000, {980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009});
  const PixelStatistics statistics = pixel_statistics(set.train.images);
  EXPECT_NEAR(statistics.mean, 0.1306604762738429, 1e-12);
  EXPECT_NEAR(statistics.stddev, 0.3081078038564622, 1e-12);
  EXPECT_EQ(set.train.image(1).size(), 784u);
  EXPECT_EQ(set.train.image(1).data(), set.train.images.data() + 784);
}

TEST(LoadDataset, ReadsFashionMnistWhereDebianPutsIt) {
  if (!holds_dataset("/usr/share/datasets/fashion-mnist"))
    GTEST_SKIP() << "dataset-fashion-mnist is not installed";
  const Dataset set = load_dataset("fashion-mnist");
  EXPECT_EQ(set.train.count, 60000);
  EXPECT_EQ(set.test.count, 10000);
  EXPECT_EQ(set.class_names.at(9), "Ankle boot");
  EXPECT_NEAR(pixel_statistics(set.train.images).mean, 0.2860405969887955, 1e-12);
  EXPECT_EQ(load_dataset("/usr/share/datasets/fashion-mnist/").class_names, set.class_names);
}

TEST(LoadDataset, ReadsAFolder) {
  TemporaryFolder folder;
  put_small_set(folder / "small");
  const Dataset set = load_dataset((folder / "small").string());
  EXPECT_EQ(set.name, "small");
  EXPECT_EQ(set.classes, 10);
  EXPECT_EQ(set.train.count, 4);
  EXPECT_EQ(set.train.height, 3);
  EXPECT_EQ(set.train.width, 2);
  EXPECT_EQ(set.train.channels, 1);
  EXPECT_EQ(set.train.images, counting(24));
  EXPECT_THAT(set.test.labels, testing::ElementsAre(7, 1));
}

TEST(LoadDataset, TakesEveryNameOfTheFiles) {
  TemporaryFolder folder;
  put(folder / "train-images.idx3-ubyte", make_idx({4, 3, 2}, counting(24)));
  put(folder / "train-labels-idx1-ubyte.gz", gzip(make_idx({4}, counting(4))));
  put(folder / "t10k-images.idx3-ubyte.gz", make_idx({2, 3, 2}, counting(12)));  // named .gz, but plain
  put(folder / "t10k-labels-idx1-ubyte", gzip(make_idx({2}, counting(2))));      // and the other way round
  EXPECT_EQ(load_dataset(folder.path().string()).test.count, 2);
}

TEST(LoadDataset, ReadsImagesWithChannels) {
  TemporaryFolder folder;
  put_small_set(folder.path());
  put(folder / "train-images-idx3-ubyte", make_idx({4, 1, 2, 3}, counting(24)));
  put(folder / "t10k-images-idx3-ubyte", make_idx({2, 1, 2, 3}, counting(12)));
  const Dataset set = load_dataset(folder.path().string());
  EXPECT_EQ(set.train.height, 1);
  EXPECT_EQ(set.train.channels, 3);
  EXPECT_EQ(set.train.pixels_per_image(), 6);
}

TEST(LoadDataset, TakesClassNamesFromTheFolder) {
  TemporaryFolder folder;
  put_small_set(folder.path());
  put(folder / "classes.txt",
      "zero\r\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine and a half\nten\n\n");
  const Dataset set = load_dataset(folder.path().string());
  EXPECT_EQ(set.classes, 11);
  EXPECT_EQ(set.class_names.at(0), "zero");
  EXPECT_EQ(set.class_names.at(9), "nine and a half");

  put(folder / "classes.txt", "a\nb\n");
  expect_error(ErrorKind::input, {"train-labels", "label 9 at index 1", "expected 0 to 1"},
               [&] { load_dataset(folder.path().string()); });
  put(folder / "classes.txt", "\n");
  expect_error(ErrorKind::input, {"classes.txt", "0 classes", "expected 1 to 256"},
               [&] { load_dataset(folder.path().string()); });
  put(folder / "classes.txt", "a\n\x1B[2J\n");
  expect_error(ErrorKind::input, {"classes.txt", "line 2", "control character"},
               [&] { load_dataset(folder.path().string()); });
}

TEST(LoadDataset, RefusesLabelsOutOfRange) {
  TemporaryFolder folder;
  put_small_set(folder.path());
  put(folder / "t10k-labels-idx1-ubyte", make_idx({2}, std::vector<std::uint8_t>{9, 10}));
  expect_error(
      ErrorKind::input,
      {"t10k-labels-idx1-ubyte", "label 10 at index 1", "out of range", "expected 0 to 9", "classes.txt"},
      [&] { load_dataset(folder.path().string()); });
}

TEST(LoadDataset, RefusesCountsThatDiffer) {
  TemporaryFolder folder;
  put_small_set(folder.path());
  put(folder / "train-labels-idx1-ubyte", make_idx({5}, counting(5)));
  expect_error(ErrorKind::input, {"train-images", "4 images", "train-labels", "5 labels", "different sets"},
               [&] { load_dataset(folder.path().string()); });
}

TEST(LoadDataset, RefusesWrongRanksAndSizes) {
  TemporaryFolder folder;
  const auto load = [&] { load_dataset(folder.path().string()); };
  put_small_set(folder.path());
  put(folder / "t10k-images-idx3-ubyte", make_idx({2, 2, 3}, counting(12)));
  expect_error(ErrorKind::input, {"training images are 3x2x1", "test images 2x3x1"}, load);
  put(folder / "t10k-images-idx3-ubyte", make_idx({2, 6}, counting(12)));
  expect_error(ErrorKind::input, {"t10k-images", "2 dimensions (2x6)", "images have 3"}, load);
  put_small_set(folder.path());
  put(folder / "train-labels-idx1-ubyte", make_idx({4, 1}, counting(4)));
  expect_error(ErrorKind::input, {"train-labels", "2 dimensions (4x1)", "labels have 1"}, load);
}

TEST(LoadDataset, RefusesDamagedFilesByName) {
  TemporaryFolder folder;
  put_small_set(folder.path());
  fs::resize_file(folder / "t10k-images-idx3-ubyte", 20);
  expect_error(ErrorKind::input, {"t10k-images-idx3-ubyte", "truncated", "download it again"},
               [&] { load_dataset(folder.path().string()); });
  fs::remove(folder / "t10k-images-idx3-ubyte");
  expect_error(ErrorKind::input, {folder.path().string(), "has no t10k-images-idx3-ubyte", "four files"},
               [&] { load_dataset(folder.path().string()); });
}

TEST(LoadDataset, SaysWhatNamesThereAre) {
  expect_error(ErrorKind::input, {"'cifar10'", "mnist", "fashion-mnist", "folder"},
               [] { load_dataset("cifar10"); });
  expect_error(ErrorKind::input, {"''"}, [] { load_dataset(""); });
}

TEST(DatasetPlaces, EachIsSearchedInItsOrder) {
  TemporaryFolder folder;
  DatasetPlaces places = nowhere(folder);
  expect_error(ErrorKind::input, {"mnist not found", "work/data/mnist", "source/mnist", "QUERN_DATA"},
               [&] { load_dataset("mnist", places); });
  // From the last place to the first: each new one must win over those after it.
  places.environment = folder / "env";
  for (const char* place : {"source", "prefix/share/quern", "prefix/data", "work/data", "env"}) {
    put_small_set(folder / place / "mnist");
    EXPECT_EQ(load_dataset("mnist", places).path, folder / place / "mnist");
  }
  fs::create_directories(folder / "empty");
  places.environment = folder / "empty";  // holds no such set: the search goes on
  EXPECT_EQ(load_dataset("mnist", places).path, folder / "work/data/mnist");
}

TEST(DatasetPlaces, FashionMnistIsFoundThroughThePackage) {
  TemporaryFolder folder;
  const DatasetPlaces places = nowhere(folder);
  expect_error(ErrorKind::input, {"fashion-mnist not found", "apt-get install dataset-fashion-mnist"},
               [&] { load_dataset("fashion-mnist", places); });
  put_small_set(folder / "elsewhere/fashion");
  fs::create_directories(places.dpkg_info);
  put(places.dpkg_info / "dataset-fashion-mnist.list",
      "/.\n" + (folder / "elsewhere/fashion").string() + "\n" +
          (folder / "elsewhere/fashion/train-images-idx3-ubyte").string() + "\n");
  const Dataset set = load_dataset("fashion-mnist", places);
  EXPECT_EQ(set.path, folder / "elsewhere/fashion");
  EXPECT_EQ(set.name, "fashion-mnist");
  EXPECT_EQ(set.class_names.at(0), "T-shirt/top");
  put_small_set(folder / "debian/fashion-mnist");
  EXPECT_EQ(load_dataset("fashion-mnist", places).path, folder / "debian/fashion-mnist");
}

TEST(DatasetPlaces, TheProcessKnowsItsOwn) {
  ::setenv("QUERN_DATA", "/some/where", 1);
  EXPECT_EQ(DatasetPlaces::of_process().environment, "/some/where");
  ::setenv("QUERN_DATA", "", 1);
  EXPECT_FALSE(DatasetPlaces::of_process().environment);
  ::unsetenv("QUERN_DATA");
  const DatasetPlaces places = DatasetPlaces::of_process();
  EXPECT_FALSE(places.environment);
  EXPECT_TRUE(fs::is_directory(places.program_folder));
  EXPECT_EQ(places.source_data / "mnist", kMnist);
}

TEST(PixelStatistics, OfLittle) {
  EXPECT_EQ(pixel_statistics({}).mean, 0);
  const std::vector<std::uint8_t> pixels{0, 255};
  EXPECT_DOUBLE_EQ(pixel_statistics(pixels).mean, 0.5);
  EXPECT_DOUBLE_EQ(pixel_statistics(pixels).stddev, 0.5);
  EXPECT_EQ(pixel_statistics(std::vector<std::uint8_t>(1000, 77)).stddev, 0);
}

}  // namespace
}  // namespace quern
