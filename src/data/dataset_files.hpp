#pragma once

/// Where data sets lie, and reading one from its folder.

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quern/dataset.hpp"

namespace quern {

/// What the search for a set's folder depends on; tests set it, programs take of_process().
struct DatasetPlaces {
  std::optional<std::filesystem::path> environment;  ///< $QUERN_DATA
  std::filesystem::path working_folder;
  std::filesystem::path program_folder;  ///< of the running executable; empty if unknown
  std::filesystem::path source_data;     ///< data/ of the tree the program was built from
  std::filesystem::path debian_data;     ///< where Debian puts data sets
  std::filesystem::path dpkg_info;       ///< where dpkg keeps its lists of files

  static DatasetPlaces of_process();
};

/// The folders that may hold a set of this name, best first.
std::vector<std::filesystem::path> dataset_folders(std::string_view name, const DatasetPlaces& places);

/// True if the folder has the training images, under any of their names.
bool holds_dataset(const std::filesystem::path& folder);

/// Loads the set in a folder; an empty list of class names means that the folder says (see dataset.hpp).
///
/// `parts` says what is read: without the test set its files are not opened, and may be missing; `test` is
/// empty then.
enum class DatasetParts { all, training };
Dataset load_folder(const std::filesystem::path& folder, std::string name,
                    std::vector<std::string> class_names, DatasetParts parts = DatasetParts::all);

Dataset load_dataset(std::string_view spec, const DatasetPlaces& places,
                     DatasetParts parts = DatasetParts::all);

/// load_dataset() for who must not see the test set.
Dataset load_training_set(std::string_view spec);

}  // namespace quern
