// The makers of the routes on a device, one in each file.
#pragma once

#include "metaspan/engines/device_arrays.hpp"

namespace metaspan {

template <class XScalar, class BScalar>
std::shared_ptr<DeviceRoute<XScalar, BScalar>> make_device_gram_route(const DeviceUse& use,
                                                                      const Method& method,
                                                                      const TaskSet<XScalar>& tasks,
                                                                      Index k, Index n,
                                                                      int copies_of_B);

template <class XScalar, class BScalar>
std::shared_ptr<DeviceRoute<XScalar, BScalar>> make_device_vector_route(
    const DeviceUse& use, const Method& method, const TaskSet<XScalar>& tasks, Index k, Index n,
    int copies_of_B);

}  // namespace metaspan
