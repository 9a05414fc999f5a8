// An exchange between the processes of a sharded run that calls a Python object.
#pragma once

#include <utility>

#include "convert.hpp"
#include "metaspan/base/shard.hpp"

namespace metaspan::bind {

/// An exchange on a Python object with the methods gather(own, counts, all) and
/// swap(own, sent, received, out), whose arrays are views that are valid during the call.
class PythonExchange final : public Exchange {
 public:
  explicit PythonExchange(py::object exchange) : exchange_(std::move(exchange)) {}

  void gather(const double* numbers, const std::vector<Index>& counts, double* all) override {
    const Locked lock;
    const Index sent = exchange_.attr("rank").cast<Index>();
    call(exchange_.attr("gather"), view(numbers, counts[static_cast<std::size_t>(sent)]), counts,
         view(all, sum_of(counts)));
  }

  void swap(const double* numbers, const std::vector<Index>& sent,
            const std::vector<Index>& received, double* out) override {
    const Locked lock;
    call(exchange_.attr("swap"), view(numbers, sum_of(sent)), sent, received,
         view(out, sum_of(received)));
  }

 private:
  static Index sum_of(const std::vector<Index>& counts) {
    Index sum = 0;
    for (const Index count : counts) sum += count;
    return sum;
  }
  static Array view(const double* numbers, Index count) {
    return Array(count, numbers, py::none());  // with a base, the array does not own its memory
  }

  py::object exchange_;
};

}  // namespace metaspan::bind
