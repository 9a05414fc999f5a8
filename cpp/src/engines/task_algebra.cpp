// The algebra on every design that engines use. It is compiled apart from the products of the
// designs and for all of them at once: what the compiler inlines decides how sums are rounded.
#include "metaspan/algebra/task_algebra_impl.hpp"
#include "metaspan/in_law/collapsed_design.hpp"
#include "metaspan/in_law/spectral_design.hpp"
#include "metaspan/sweeps/vector_design.hpp"

namespace metaspan {

template class TaskAlgebra<CollapsedDesign>;
template class TaskAlgebra<DenseDesign>;
template class TaskAlgebra<SpectralDesign>;
template class TaskAlgebra<VectorDesign<float>>;
template class TaskAlgebra<VectorDesign<double>>;
template class TaskAlgebra<SharedDesign<kNarrow>>;
template class TaskAlgebra<SharedDesign<kWide>>;

}  // namespace metaspan
