// Instantiates the task algebra, (5)-(10), for every design that an engine uses. This file has all
// of these instantiations and no definition of a design's products. Which functions the compiler
// inlines decides where it fuses multiplications and additions, and thus the last bits. These bits
// must not depend on the engine for which the algebra is compiled.
#include "metaspan/algebra/task_algebra_impl.hpp"

#include "metaspan/algebra/attention_impl.hpp"
#include "metaspan/algebra/contributions_impl.hpp"
#include "metaspan/algebra/dense_design.hpp"
#include "metaspan/algebra/trial_columns.hpp"
#include "metaspan/engines/device_vector_design.hpp"
#include "metaspan/in_law/collapsed_design.hpp"
#include "metaspan/in_law/spectral_design.hpp"
#include "metaspan/sweeps/vector_design.hpp"

namespace metaspan {

template class PanelAlgebra<CollapsedDesign>;
template class PanelAlgebra<DenseDesign>;
template class PanelAlgebra<DeviceVectorDesign>;
template class PanelAlgebra<SpectralDesign>;
template class PanelAlgebra<VectorDesign<float>>;
template class PanelAlgebra<VectorDesign<double>>;
template class PanelAlgebra<SharedDesign<kNarrow>>;
template class PanelAlgebra<SharedDesign<kWide>>;
template class PanelAlgebra<TrialsDesign<TrialColumns<kernels::kTrials, kNarrow>>>;
template class PanelAlgebra<TrialsDesign<TrialColumns<kernels::kTrials, kWide>>>;

}  // namespace metaspan
