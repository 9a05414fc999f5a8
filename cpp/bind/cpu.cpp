// The module _cpu: the instruction-set levels for which the core was built, and a test of whether
// this processor supports a level. The module is compiled for the baseline instruction set, so that
// it loads on every processor. The module uses Python's C API instead of pybind11, which would take
// longer to compile than the rest of this file.
#include <Python.h>

#include "levels.hpp"

namespace metaspan::bind {
namespace {

/// Returns the levels of the build as a tuple of names. On failure sets a Python exception and
/// returns null.
PyObject* level_names() {
  const char* const levels[] = {METASPAN_LEVELS};
  PyObject* names = PyList_New(0);
  for (const char* level : levels) {
    PyObject* name = names == nullptr ? nullptr : PyUnicode_FromString(level);
    if (name == nullptr || PyList_Append(names, name) < 0) Py_CLEAR(names);
    Py_XDECREF(name);
  }
  PyObject* tuple = names == nullptr ? nullptr : PyList_AsTuple(names);
  Py_XDECREF(names);
  return tuple;
}

/// The Python function supports(level): whether this processor can run code of a level.
PyObject* supports_level(PyObject* /*module*/, PyObject* level) {
  const char* name = PyUnicode_AsUTF8(level);  // sets a TypeError unless it is a string
  return name == nullptr ? nullptr : PyBool_FromLong(supports(name));
}

}  // namespace
}  // namespace metaspan::bind

PyMODINIT_FUNC PyInit__cpu() {
  static PyMethodDef functions[] = {
      {"supports", &metaspan::bind::supports_level, METH_O, "supports($module, level, /)\n--\n\n"},
      {nullptr, nullptr, 0, nullptr}};
  static PyModuleDef definition = {
      PyModuleDef_HEAD_INIT, "_cpu", nullptr, -1, functions, nullptr, nullptr, nullptr, nullptr};
  PyObject* module = PyModule_Create(&definition);
  PyObject* names = module == nullptr ? nullptr : metaspan::bind::level_names();
  if (names == nullptr || PyModule_AddObjectRef(module, "LEVELS", names) < 0) Py_CLEAR(module);
  Py_XDECREF(names);
  return module;
}
