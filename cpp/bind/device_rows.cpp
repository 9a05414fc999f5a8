// Bindings of the products of all rows of a batch with matrices, on a device.
#include "metaspan/engines/device_rows.hpp"
#include "batch.hpp"
#include "bind.hpp"
#include "device.hpp"
#include "row_matrices.hpp"

namespace metaspan::bind {
namespace {

/// The rows of a batch on a device, together with the batch, which owns the memory of the rows or
/// from which they are copied.
class RowsOnDevice {
 public:
  RowsOnDevice(const Device& device, std::shared_ptr<Batch> batch) : batch_(std::move(batch)) {
    const DeviceUse use{&device.module()};
    batch_->visit_on(true, [&](auto, const auto& tasks) {
      offsets_ = row_offsets(tasks);
      d_ = tasks.d;
      rows_ = make_device_rows(use, tasks);
    });
  }

  Array features(const py::array& B, int threads) {
    const double* b = doubles_of(B, d_);
    const Index k = columns_of(B);
    return filled(offsets_.back(), k, [&](double* out, Cancel* cancel) {
      rows_->features(b, k, out, threads, cancel);
    });
  }

  Array combine(const py::array& C, int threads) {
    const double* c = doubles_of(C, offsets_.back());
    const Index k = columns_of(C);
    return filled(d_, k,
                  [&](double* out, Cancel* cancel) { rows_->combine(c, k, out, threads, cancel); });
  }

  Array combine_features(const py::array& B, const py::object& transform, int threads) {
    const double* b = doubles_of(B, d_);
    const Index k = columns_of(B);
    const auto as_rows = as_transform(
        transform, k, [&](Index task) { return offsets_[static_cast<std::size_t>(task)]; });
    return filled(d_, k, [&](double* out, Cancel* cancel) {
      rows_->combine_features(b, k, as_rows, out, threads, cancel);
    });
  }

  py::list grams(Index first, Index end, int threads) {
    require(0 <= first && first <= end && end < static_cast<Index>(offsets_.size()),
            "tasks must be of the batch");
    std::vector<Mat> grams;
    interruptible(
        [&](Cancel* cancel) { grams = rows_->grams(first, end - first, threads, cancel); });
    py::list arrays;
    for (const Mat& gram : grams) arrays.append(to_array(gram));
    return arrays;
  }

 private:
  static Index columns_of(const py::array& matrix) {
    const Index k = matrix.shape(1);
    require(1 <= k && k <= 256, "a factor must have 1 to 256 columns");
    return k;
  }

  std::shared_ptr<Batch> batch_;
  std::vector<Index> offsets_;
  Index d_ = 0;
  std::unique_ptr<DeviceRows> rows_;
};

}  // namespace

void bind_device_rows(py::module_& module) {
  py::class_<RowsOnDevice>(module, "DeviceRows")
      .def(py::init<const Device&, std::shared_ptr<Batch>>(), py::arg("device"), py::arg("data"))
      .def("features", &RowsOnDevice::features, py::arg("B"), py::arg("threads"))
      .def("combine", &RowsOnDevice::combine, py::arg("C"), py::arg("threads"))
      .def("combine_features", &RowsOnDevice::combine_features, py::arg("B"), py::arg("transform"),
           py::arg("threads"))
      .def("grams", &RowsOnDevice::grams, py::arg("first"), py::arg("end"), py::arg("threads"));
}

}  // namespace metaspan::bind
