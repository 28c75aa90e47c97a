/* Counting rows into cells, in C: the fastest of the three ways of counting.py, and the same counts.
 *
 * Counter(edges, ranges) with one bytes object of doubles and one (low, high) a feature.
 *   add(row) -> rows   a list or tuple of numbers, or a C-contiguous buffer of float or double with one or two axes;
 *                      anything else is taken as a sequence (of sequences). A bad row raises, and nothing of the call
 *                      was counted.
 *   tick(row) -> bool  the same, and whether `rows` has come to `due`
 *   rows, due          rows since the last take; when `tick` says so
 *   take() -> [(cells, (missing, +inf, -inf, outside, min, max, mean, m2))]   since the last take
 *
 * A cell is found without branches: the edges are padded with +inf to 2^k - 1 and searched in k steps. Moments are
 * Welford's (1962). Not thread-safe by itself: the interpreter's lock is held all the time.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    Py_ssize_t first_edge, first_cell, cells; /* where this feature's edges and counts begin; number of cells */
    Py_ssize_t half;                          /* (padded + 1) / 2: the first step of the search */
    double low, high;                         /* the valid range */
} Feature;

typedef struct {
    uint64_t missing, positive, negative, outside, n;
    double min, max, mean, m2;
} Moments;

typedef struct {
    PyObject_HEAD
    Py_ssize_t width, all_cells, rows, due;
    Feature *features;
    double *edges, *row;
    uint32_t *cells;
    Moments *moments;
} Counter;

static void count_value(Counter *self, Py_ssize_t j, double value)
{
    const Feature *feature = &self->features[j];
    Moments *moments = &self->moments[j];
    const double *edges = self->edges + feature->first_edge;
    Py_ssize_t cell = 0;
    if (value != value) {
        moments->missing++;
        return;
    }
    for (Py_ssize_t step = feature->half; step; step >>= 1)
        cell += edges[cell + step - 1] <= value ? step : 0;
    if (cell >= feature->cells)
        cell = feature->cells - 1; /* +inf is not below the padding */
    self->cells[feature->first_cell + cell]++;
    moments->outside += (value < feature->low) | (value > feature->high);
    if (isinf(value)) {
        if (value > 0)
            moments->positive++;
        else
            moments->negative++;
        return;
    }
    double difference = value - moments->mean;
    double mean = moments->mean + difference / (double)++moments->n;
    if (isfinite(difference)) {
        moments->m2 += difference * (value - mean);
        moments->mean = mean;
    } else { /* values near both ends of the doubles */
        moments->m2 = INFINITY;
        moments->mean += value / (double)moments->n - moments->mean / (double)moments->n;
    }
    if (value < moments->min)
        moments->min = value;
    if (value > moments->max)
        moments->max = value;
}

static void count_row(Counter *self, const double *row)
{
    for (Py_ssize_t j = 0; j < self->width; j++)
        count_value(self, j, row[j]);
    self->rows++;
}

static int parse_item(PyObject *item, double *value)
{
    if (item == Py_None) {
        *value = NAN;
        return 0;
    }
    if (PyUnicode_Check(item) || PyBytes_Check(item) || PyByteArray_Check(item)) {
        PyErr_SetString(PyExc_TypeError, "a text where a number belongs");
        return -1;
    }
    *value = PyFloat_AsDouble(item);
    return *value == -1.0 && PyErr_Occurred() ? -1 : 0;
}

/* A list or tuple into self->width doubles. Converting what is no float may run any code, which may change the list:
 * from the first such item on, a tuple is read that nobody else has. */
static int parse_row(Counter *self, PyObject *sequence, double *row)
{
    Py_ssize_t n = PySequence_Fast_GET_SIZE(sequence), j = 0;
    if (n != self->width) {
        PyErr_Format(PyExc_ValueError, "a row of %zd values for %zd features", n, self->width);
        return -1;
    }
    PyObject **items = PySequence_Fast_ITEMS(sequence);
    for (; j < n && PyFloat_CheckExact(items[j]); j++)
        row[j] = PyFloat_AS_DOUBLE(items[j]);
    if (j == n)
        return 0;
    PyObject *own = PySequence_Tuple(sequence);
    if (!own)
        return -1;
    int bad = 0;
    for (; j < n && !bad; j++)
        bad = parse_item(PyTuple_GET_ITEM(own, j), &row[j]);
    Py_DECREF(own);
    return bad;
}

static PyObject *add_buffer(Counter *self, const Py_buffer *view)
{
    Py_ssize_t rows = view->ndim == 1 ? 1 : view->shape[0];
    Py_ssize_t width = view->shape[view->ndim - 1];
    if (width != self->width)
        return PyErr_Format(PyExc_ValueError, "rows of %zd values for %zd features", width, self->width);
    if (view->itemsize == sizeof(double)) {
        const double *values = view->buf;
        for (Py_ssize_t i = 0; i < rows; i++)
            count_row(self, values + i * width);
    } else {
        const float *values = view->buf;
        for (Py_ssize_t i = 0; i < rows * width; i++)
            count_value(self, i % width, (double)values[i]);
        self->rows += rows;
    }
    return PyLong_FromSsize_t(rows);
}

static PyObject *add_rows(Counter *self, PyObject *outer, Py_ssize_t n)
{
    double *rows = PyMem_Malloc((size_t)n * (size_t)self->width * sizeof(double) + 1);
    if (!rows)
        return PyErr_NoMemory();
    PyObject *result = NULL;
    Py_ssize_t done = 0;
    for (; done < n; done++) {
        PyObject *inner = PySequence_Fast(PyTuple_GET_ITEM(outer, done), "a row is a sequence of numbers");
        int bad = !inner || parse_row(self, inner, rows + done * self->width);
        Py_XDECREF(inner);
        if (bad)
            break;
    }
    if (done == n) {
        for (Py_ssize_t i = 0; i < n; i++)
            count_row(self, rows + i * self->width);
        result = PyLong_FromSsize_t(n);
    }
    PyMem_Free(rows);
    return result;
}

static PyObject *add_sequence(Counter *self, PyObject *value)
{
    PyObject *result = NULL;
    if (PyUnicode_Check(value) || PyBytes_Check(value) || PyDict_Check(value) || PyAnySet_Check(value))
        return PyErr_Format(PyExc_TypeError, "a row is a sequence of numbers, not a %s", Py_TYPE(value)->tp_name);
    PyObject *row = PySequence_Fast(value, "a row is a sequence of numbers");
    if (!row)
        return NULL;
    Py_ssize_t n = PySequence_Fast_GET_SIZE(row);
    PyObject *first = n > 0 ? PySequence_Fast_GET_ITEM(row, 0) : NULL;
    if (first && !PyFloat_CheckExact(first) && PySequence_Check(first) && !PyUnicode_Check(first) &&
        !PyBytes_Check(first)) {
        PyObject *rows = PySequence_Tuple(row);
        if (rows)
            result = add_rows(self, rows, PyTuple_GET_SIZE(rows));
        Py_XDECREF(rows);
    } else if (parse_row(self, row, self->row) == 0) {
        count_row(self, self->row);
        result = PyLong_FromLong(1);
    }
    Py_DECREF(row);
    return result;
}

static PyObject *counter_add(PyObject *object, PyObject *value)
{
    Counter *self = (Counter *)object;
    if (!PyList_CheckExact(value) && !PyTuple_CheckExact(value) && PyObject_CheckBuffer(value)) {
        Py_buffer view;
        if (PyObject_GetBuffer(value, &view, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS) == 0) {
            const char *format = view.format ? view.format : "B";
            int known = (view.ndim == 1 || view.ndim == 2) && format[1] == 0 &&
                        ((format[0] == 'f' && view.itemsize == sizeof(float)) ||
                         (format[0] == 'd' && view.itemsize == sizeof(double)));
            PyObject *result = known ? add_buffer(self, &view) : NULL;
            PyBuffer_Release(&view);
            if (known)
                return result;
        } else {
            PyErr_Clear(); /* not contiguous: element by element */
        }
    }
    return add_sequence(self, value);
}

static PyObject *counter_tick(PyObject *object, PyObject *value)
{
    Counter *self = (Counter *)object;
    PyObject *added = counter_add(object, value);
    if (!added)
        return NULL;
    Py_DECREF(added);
    return PyBool_FromLong(self->rows >= self->due);
}

static void begin(Counter *self)
{
    self->rows = 0;
    memset(self->cells, 0, (size_t)self->all_cells * sizeof(uint32_t));
    memset(self->moments, 0, (size_t)self->width * sizeof(Moments));
    for (Py_ssize_t j = 0; j < self->width; j++) {
        self->moments[j].min = INFINITY;
        self->moments[j].max = -INFINITY;
    }
}

static PyObject *counter_take(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Counter *self = (Counter *)object;
    PyObject *result = PyList_New(self->width);
    if (!result)
        return NULL;
    for (Py_ssize_t j = 0; j < self->width; j++) {
        const Moments *m = &self->moments[j];
        PyObject *entry = Py_BuildValue("(y#(KKKKdddd))", (const char *)(self->cells + self->features[j].first_cell),
                                        self->features[j].cells * (Py_ssize_t)sizeof(uint32_t),
                                        (unsigned long long)m->missing, (unsigned long long)m->positive,
                                        (unsigned long long)m->negative, (unsigned long long)m->outside, m->min, m->max,
                                        m->mean, m->m2);
        if (!entry) {
            Py_DECREF(result);
            return NULL;
        }
        PyList_SET_ITEM(result, j, entry);
    }
    begin(self);
    return result;
}

static int lay_out(Counter *self, PyObject *edges, PyObject *ranges)
{
    Py_ssize_t padded_edges = 0;
    for (Py_ssize_t j = 0; j < self->width; j++) {
        Feature *feature = &self->features[j];
        PyObject *own = PyList_GET_ITEM(edges, j);
        if (!PyBytes_Check(own) || !PyArg_ParseTuple(PyList_GET_ITEM(ranges, j), "dd", &feature->low, &feature->high))
            return -1;
        Py_ssize_t n = PyBytes_GET_SIZE(own) / (Py_ssize_t)sizeof(double), size = 1;
        while (size - 1 < n)
            size *= 2;
        feature->cells = n + 1;
        feature->half = size / 2;
        feature->first_edge = padded_edges;
        feature->first_cell = self->all_cells;
        padded_edges += size - 1;
        self->all_cells += n + 1;
    }
    self->edges = PyMem_Malloc((size_t)padded_edges * sizeof(double) + 1);
    self->cells = PyMem_Malloc((size_t)self->all_cells * sizeof(uint32_t) + 1);
    if (!self->edges || !self->cells)
        return -1;
    for (Py_ssize_t i = 0; i < padded_edges; i++)
        self->edges[i] = INFINITY;
    for (Py_ssize_t j = 0; j < self->width; j++)
        memcpy(self->edges + self->features[j].first_edge, PyBytes_AS_STRING(PyList_GET_ITEM(edges, j)),
               (size_t)(self->features[j].cells - 1) * sizeof(double));
    return 0;
}

static PyObject *counter_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *edges, *ranges;
    (void)kwargs;
    if (!PyArg_ParseTuple(args, "O!O!", &PyList_Type, &edges, &PyList_Type, &ranges))
        return NULL;
    if (PyList_GET_SIZE(edges) != PyList_GET_SIZE(ranges)) {
        PyErr_SetString(PyExc_ValueError, "one range a feature");
        return NULL;
    }
    Counter *self = (Counter *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->width = PyList_GET_SIZE(edges);
    size_t width = (size_t)self->width + 1;
    self->features = PyMem_Calloc(width, sizeof(Feature));
    self->moments = PyMem_Calloc(width, sizeof(Moments));
    self->row = PyMem_Calloc(width, sizeof(double));
    if (!self->features || !self->moments || !self->row || lay_out(self, edges, ranges)) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "edges are bytes of doubles, in memory that there is");
        Py_DECREF(self);
        return NULL;
    }
    begin(self);
    return (PyObject *)self;
}

static void counter_dealloc(PyObject *object)
{
    Counter *self = (Counter *)object;
    PyMem_Free(self->features);
    PyMem_Free(self->moments);
    PyMem_Free(self->row);
    PyMem_Free(self->edges);
    PyMem_Free(self->cells);
    Py_TYPE(object)->tp_free(object);
}

static PyMethodDef counter_methods[] = {
    {"add", counter_add, METH_O, "Counts one row, or each row of a batch; returns how many."},
    {"tick", counter_tick, METH_O, "Like add; returns whether as many rows as are due were counted."},
    {"take", counter_take, METH_NOARGS, "The counts since the last take."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef counter_members[] = {
    {"rows", T_PYSSIZET, offsetof(Counter, rows), READONLY, "Rows since the last take."},
    {"due", T_PYSSIZET, offsetof(Counter, due), 0, "At how many rows tick is true."},
    {NULL, 0, 0, 0, NULL},
};

static PyTypeObject counter_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "_native.Counter",
    .tp_basicsize = sizeof(Counter),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "Counts rows of numbers into cells.",
    .tp_new = counter_new,
    .tp_dealloc = counter_dealloc,
    .tp_methods = counter_methods,
    .tp_members = counter_members,
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_native", NULL, -1, NULL, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__native(void)
{
    if (PyType_Ready(&counter_type) < 0)
        return NULL;
    PyObject *made = PyModule_Create(&module);
    if (!made)
        return NULL;
    Py_INCREF(&counter_type);
    if (PyModule_AddObject(made, "Counter", (PyObject *)&counter_type) < 0) {
        Py_DECREF(&counter_type);
        Py_DECREF(made);
        return NULL;
    }
    return made;
}
