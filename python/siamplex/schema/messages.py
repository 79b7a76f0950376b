"""The protobuf messages this package reads and writes, declared here and built at import.

All of Caffe 1.0's messages that a run on one machine needs are declared.  Field names and numbers are those of Caffe's
files, so that text (prototxt) and wire (caffemodel, solverstate, Datum) files are compatible both ways.  A prototxt
that uses anything else is refused with its line.  Only ``norm_param`` is not Caffe's: forks have it, for ``Normalize``.

Each field reads ``"[repeated] [packed] type name number [default]"``; a type that is not a scalar
is a message or enum declared below.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from siamplex.schema.old_messages import OLD_ENUMS, OLD_MESSAGES

ENUMS: dict[str, dict[str, int]] = {
    "Phase": {"TRAIN": 0, "TEST": 1},
    "VarianceNorm": {"FAN_IN": 0, "FAN_OUT": 1, "AVERAGE": 2},
    "DimCheckMode": {"STRICT": 0, "PERMISSIVE": 1},
    "Backend": {"LEVELDB": 0, "LMDB": 1},
    "NormRegion": {"ACROSS_CHANNELS": 0, "WITHIN_CHANNEL": 1},
    "PoolMethod": {"MAX": 0, "AVE": 1, "STOCHASTIC": 2},
    "RoundMode": {"CEIL": 0, "FLOOR": 1},
    "Engine": {"DEFAULT": 0, "CAFFE": 1, "CUDNN": 2},
    "EltwiseOp": {"PROD": 0, "SUM": 1, "MAX": 2},
    "ReductionOp": {"SUM": 1, "ASUM": 2, "SUMSQ": 3, "MEAN": 4},
    "HingeNorm": {"L1": 1, "L2": 2},
    "NormalizationMode": {"FULL": 0, "VALID": 1, "BATCH_SIZE": 2, "NONE": 3},
    "SnapshotFormat": {"HDF5": 0, "BINARYPROTO": 1},
    "SolverMode": {"CPU": 0, "GPU": 1},
    "SolverType": {"SGD": 0, "NESTEROV": 1, "ADAGRAD": 2, "RMSPROP": 3, "ADADELTA": 4, "ADAM": 5},
    **OLD_ENUMS,
}

MESSAGES: dict[str, list[str]] = {
    # --- arrays and stored samples
    "BlobShape": ["repeated packed int64 dim 1"],
    "BlobProto": [
        "BlobShape shape 7",
        "repeated packed float data 5",
        "repeated packed float diff 6",
        "repeated packed double double_data 8",
        "repeated packed double double_diff 9",
        "int32 num 1 0",
        "int32 channels 2 0",
        "int32 height 3 0",
        "int32 width 4 0",
    ],
    "Datum": [
        "int32 channels 1",
        "int32 height 2",
        "int32 width 3",
        "bytes data 4",
        "int32 label 5",
        "repeated float float_data 6",
        "bool encoded 7 false",
    ],
    # --- nets
    "NetParameter": [
        "string name 1",
        "repeated string input 3",
        "repeated BlobShape input_shape 8",
        "repeated int32 input_dim 4",
        "bool force_backward 5 false",
        "NetState state 6",
        "bool debug_info 7 false",
        "repeated LayerParameter layer 100",
        "repeated V1LayerParameter layers 2",
    ],
    "NetState": ["Phase phase 1 TEST", "int32 level 2 0", "repeated string stage 3"],
    "NetStateRule": [
        "Phase phase 1",
        "int32 min_level 2",
        "int32 max_level 3",
        "repeated string stage 4",
        "repeated string not_stage 5",
    ],
    "ParamSpec": [
        "string name 1",
        "DimCheckMode share_mode 2",
        "float lr_mult 3 1.0",
        "float decay_mult 4 1.0",
    ],
    "LayerParameter": [
        "string name 1",
        "string type 2",
        "repeated string bottom 3",
        "repeated string top 4",
        "Phase phase 10",
        "repeated float loss_weight 5",
        "repeated ParamSpec param 6",
        "repeated BlobProto blobs 7",
        "repeated bool propagate_down 11",
        "repeated NetStateRule include 8",
        "repeated NetStateRule exclude 9",
        "TransformationParameter transform_param 100",
        "LossParameter loss_param 101",
        "AccuracyParameter accuracy_param 102",
        "ArgMaxParameter argmax_param 103",
        "BatchNormParameter batch_norm_param 139",
        "BiasParameter bias_param 141",
        "ClipParameter clip_param 148",
        "ConcatParameter concat_param 104",
        "ContrastiveLossParameter contrastive_loss_param 105",
        "ConvolutionParameter convolution_param 106",
        "CropParameter crop_param 144",
        "DataParameter data_param 107",
        "DropoutParameter dropout_param 108",
        "DummyDataParameter dummy_data_param 109",
        "EltwiseParameter eltwise_param 110",
        "ELUParameter elu_param 140",
        "EmbedParameter embed_param 137",
        "ExpParameter exp_param 111",
        "FlattenParameter flatten_param 135",
        "HDF5DataParameter hdf5_data_param 112",
        "HDF5OutputParameter hdf5_output_param 113",
        "HingeLossParameter hinge_loss_param 114",
        "ImageDataParameter image_data_param 115",
        "InfogainLossParameter infogain_loss_param 116",
        "InnerProductParameter inner_product_param 117",
        "InputParameter input_param 143",
        "LogParameter log_param 134",
        "LRNParameter lrn_param 118",
        "MemoryDataParameter memory_data_param 119",
        "MVNParameter mvn_param 120",
        "ParameterParameter parameter_param 145",
        "PoolingParameter pooling_param 121",
        "PowerParameter power_param 122",
        "PReLUParameter prelu_param 131",
        "PythonParameter python_param 130",
        "RecurrentParameter recurrent_param 146",
        "ReductionParameter reduction_param 136",
        "ReLUParameter relu_param 123",
        "ReshapeParameter reshape_param 133",
        "ScaleParameter scale_param 142",
        "SigmoidParameter sigmoid_param 124",
        "SoftmaxParameter softmax_param 125",
        "SPPParameter spp_param 132",
        "SliceParameter slice_param 126",
        "SwishParameter swish_param 147",
        "TanHParameter tanh_param 127",
        "ThresholdParameter threshold_param 128",
        "TileParameter tile_param 138",
        "WindowDataParameter window_data_param 129",
        "NormalizeParameter norm_param 206",
    ],
    "FillerParameter": [
        "string type 1 constant",
        "float value 2 0",
        "float min 3 0",
        "float max 4 1",
        "float mean 5 0",
        "float std 6 1",
        "int32 sparse 7 -1",
        "VarianceNorm variance_norm 8 FAN_IN",
    ],
    "TransformationParameter": [
        "float scale 1 1",
        "bool mirror 2 false",
        "uint32 crop_size 3 0",
        "string mean_file 4",
        "repeated float mean_value 5",
        "bool force_color 6 false",
        "bool force_gray 7 false",
    ],
    "LossParameter": [
        "int32 ignore_label 1",
        "bool normalize 2",
        "NormalizationMode normalization 3 VALID",
    ],
    "AccuracyParameter": ["uint32 top_k 1 1", "int32 axis 2 1", "int32 ignore_label 3"],
    "ArgMaxParameter": ["bool out_max_val 1 false", "uint32 top_k 2 1", "int32 axis 3"],
    "BatchNormParameter": [
        "bool use_global_stats 1",
        "float moving_average_fraction 2 0.999",
        "float eps 3 1e-5",
    ],
    "BiasParameter": ["int32 axis 1 1", "int32 num_axes 2 1", "FillerParameter filler 3"],
    "ClipParameter": ["float min 1", "float max 2"],
    "ConcatParameter": ["int32 axis 2 1", "uint32 concat_dim 1 1"],
    "ContrastiveLossParameter": ["float margin 1 1.0", "bool legacy_version 2 false"],
    "ConvolutionParameter": [
        "uint32 num_output 1",
        "bool bias_term 2 true",
        "repeated uint32 pad 3",
        "repeated uint32 kernel_size 4",
        "repeated uint32 stride 6",
        "repeated uint32 dilation 18",
        "uint32 pad_h 9 0",
        "uint32 pad_w 10 0",
        "uint32 kernel_h 11",
        "uint32 kernel_w 12",
        "uint32 stride_h 13",
        "uint32 stride_w 14",
        "uint32 group 5 1",
        "FillerParameter weight_filler 7",
        "FillerParameter bias_filler 8",
        "Engine engine 15 DEFAULT",
        "int32 axis 16 1",
        "bool force_nd_im2col 17 false",
    ],
    "CropParameter": ["int32 axis 1 2", "repeated uint32 offset 2"],
    "DataParameter": [
        "string source 1",
        "uint32 batch_size 4",
        "uint32 rand_skip 7 0",
        "Backend backend 8 LEVELDB",
        "float scale 2 1",
        "string mean_file 3",
        "uint32 crop_size 5 0",
        "bool mirror 6 false",
        "bool force_encoded_color 9 false",
        "uint32 prefetch 10 4",
    ],
    "DropoutParameter": ["float dropout_ratio 1 0.5"],
    "DummyDataParameter": [
        "repeated FillerParameter data_filler 1",
        "repeated BlobShape shape 6",
        "repeated uint32 num 2",
        "repeated uint32 channels 3",
        "repeated uint32 height 4",
        "repeated uint32 width 5",
    ],
    "EltwiseParameter": ["EltwiseOp operation 1 SUM", "repeated float coeff 2", "bool stable_prod_grad 3 true"],
    "ELUParameter": ["float alpha 1 1"],
    "EmbedParameter": [
        "uint32 num_output 1",
        "uint32 input_dim 2",
        "bool bias_term 3 true",
        "FillerParameter weight_filler 4",
        "FillerParameter bias_filler 5",
    ],
    "ExpParameter": ["float base 1 -1.0", "float scale 2 1.0", "float shift 3 0.0"],
    "FlattenParameter": ["int32 axis 1 1", "int32 end_axis 2 -1"],
    "HDF5DataParameter": ["string source 1", "uint32 batch_size 2", "bool shuffle 3 false"],
    "HDF5OutputParameter": ["string file_name 1"],
    "HingeLossParameter": ["HingeNorm norm 1 L1"],
    "ImageDataParameter": [
        "string source 1",
        "uint32 batch_size 4 1",
        "uint32 rand_skip 7 0",
        "bool shuffle 8 false",
        "uint32 new_height 9 0",
        "uint32 new_width 10 0",
        "bool is_color 11 true",
        "float scale 2 1",
        "string mean_file 3",
        "uint32 crop_size 5 0",
        "bool mirror 6 false",
        "string root_folder 12",
    ],
    "InfogainLossParameter": ["string source 1", "int32 axis 2 1"],
    "InnerProductParameter": [
        "uint32 num_output 1",
        "bool bias_term 2 true",
        "FillerParameter weight_filler 3",
        "FillerParameter bias_filler 4",
        "int32 axis 5 1",
        "bool transpose 6 false",
    ],
    "InputParameter": ["repeated BlobShape shape 1"],
    "LogParameter": ["float base 1 -1.0", "float scale 2 1.0", "float shift 3 0.0"],
    "LRNParameter": [
        "uint32 local_size 1 5",
        "float alpha 2 1",
        "float beta 3 0.75",
        "NormRegion norm_region 4 ACROSS_CHANNELS",
        "float k 5 1",
        "Engine engine 6 DEFAULT",
    ],
    "MemoryDataParameter": [
        "uint32 batch_size 1",
        "uint32 channels 2",
        "uint32 height 3",
        "uint32 width 4",
    ],
    "MVNParameter": ["bool normalize_variance 1 true", "bool across_channels 2 false", "float eps 3 1e-9"],
    "NormalizeParameter": [
        "bool across_spatial 1 true",
        "FillerParameter scale_filler 2",
        "bool channel_shared 3 true",
        "float eps 4 1e-10",
    ],
    "ParameterParameter": ["BlobShape shape 1"],
    "PoolingParameter": [
        "PoolMethod pool 1 MAX",
        "uint32 pad 4 0",
        "uint32 pad_h 9 0",
        "uint32 pad_w 10 0",
        "uint32 kernel_size 2",
        "uint32 kernel_h 5",
        "uint32 kernel_w 6",
        "uint32 stride 3 1",
        "uint32 stride_h 7",
        "uint32 stride_w 8",
        "Engine engine 11 DEFAULT",
        "bool global_pooling 12 false",
        "RoundMode round_mode 13 CEIL",
    ],
    "PowerParameter": ["float power 1 1.0", "float scale 2 1.0", "float shift 3 0.0"],
    "PReLUParameter": ["FillerParameter filler 1", "bool channel_shared 2 false"],
    "PythonParameter": [
        "string module 1",
        "string layer 2",
        "string param_str 3",
        "bool share_in_parallel 4 false",
    ],
    "RecurrentParameter": [
        "uint32 num_output 1 0",
        "FillerParameter weight_filler 2",
        "FillerParameter bias_filler 3",
        "bool debug_info 4 false",
        "bool expose_hidden 5 false",
    ],
    "ReductionParameter": ["ReductionOp operation 1 SUM", "int32 axis 2 0", "float coeff 3 1.0"],
    "ReLUParameter": ["float negative_slope 1 0", "Engine engine 2 DEFAULT"],
    "ReshapeParameter": ["BlobShape shape 1", "int32 axis 2 0", "int32 num_axes 3 -1"],
    "ScaleParameter": [
        "int32 axis 1 1",
        "int32 num_axes 2 1",
        "FillerParameter filler 3",
        "bool bias_term 4 false",
        "FillerParameter bias_filler 5",
    ],
    "SigmoidParameter": ["Engine engine 1 DEFAULT"],
    "SliceParameter": ["int32 axis 3 1", "repeated uint32 slice_point 2", "uint32 slice_dim 1 1"],
    "SoftmaxParameter": ["Engine engine 1 DEFAULT", "int32 axis 2 1"],
    "SPPParameter": ["uint32 pyramid_height 1", "PoolMethod pool 2 MAX", "Engine engine 6 DEFAULT"],
    "SwishParameter": ["float beta 1 1"],
    "TanHParameter": ["Engine engine 1 DEFAULT"],
    "ThresholdParameter": ["float threshold 1 0"],
    "TileParameter": ["int32 axis 1 1", "int32 tiles 2"],
    "WindowDataParameter": [
        "string source 1",
        "float scale 2 1",
        "string mean_file 3",
        "uint32 batch_size 4",
        "uint32 crop_size 5 0",
        "bool mirror 6 false",
        "float fg_threshold 7 0.5",
        "float bg_threshold 8 0.5",
        "float fg_fraction 9 0.25",
        "uint32 context_pad 10 0",
        "string crop_mode 11 warp",
        "bool cache_images 12 false",
        "string root_folder 13",
    ],
    # --- solvers
    "SolverParameter": [
        "string net 24",
        "NetParameter net_param 25",
        "string train_net 1",
        "repeated string test_net 2",
        "NetParameter train_net_param 21",
        "repeated NetParameter test_net_param 22",
        "NetState train_state 26",
        "repeated NetState test_state 27",
        "repeated int32 test_iter 3",
        "int32 test_interval 4 0",
        "bool test_compute_loss 19 false",
        "bool test_initialization 32 true",
        "float base_lr 5",
        "int32 display 6",
        "int32 average_loss 33 1",
        "int32 max_iter 7",
        "int32 iter_size 36 1",
        "string lr_policy 8",
        "float gamma 9",
        "float power 10",
        "float momentum 11",
        "float weight_decay 12",
        "string regularization_type 29 L2",
        "int32 stepsize 13",
        "repeated int32 stepvalue 34",
        "float clip_gradients 35 -1",
        "int32 snapshot 14 0",
        "string snapshot_prefix 15",
        "bool snapshot_diff 16 false",
        "SnapshotFormat snapshot_format 37 BINARYPROTO",
        "SolverMode solver_mode 17 GPU",
        "int32 device_id 18 0",
        "int64 random_seed 20 -1",
        "string type 40 SGD",
        "float delta 31 1e-8",
        "float momentum2 39 0.999",
        "float rms_decay 38 0.99",
        "bool debug_info 23 false",
        "bool snapshot_after_train 28 true",
        "SolverType solver_type 30 SGD",
        "bool layer_wise_reduce 41 true",
        "repeated string weights 42",
    ],
    "SolverState": [
        "int32 iter 1",
        "string learned_net 2",
        "repeated BlobProto history 3",
        "int32 current_step 4 0",
    ],
    **OLD_MESSAGES,
}

PACKAGE = "caffe"
_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "int32": _FIELD.TYPE_INT32,
    "int64": _FIELD.TYPE_INT64,
    "uint32": _FIELD.TYPE_UINT32,
    "float": _FIELD.TYPE_FLOAT,
    "double": _FIELD.TYPE_DOUBLE,
    "bool": _FIELD.TYPE_BOOL,
    "string": _FIELD.TYPE_STRING,
    "bytes": _FIELD.TYPE_BYTES,
}


def add_field(message: Any, declaration: str, enums: Mapping[str, str] | None = None) -> None:
    """Add a field, declared as above, to a DescriptorProto; ``enums`` are the full names of enums by their own.

    Raises ValueError or KeyError for a declaration that is none.
    """
    words = declaration.split()
    field = message.field.add()
    field.label = _FIELD.LABEL_OPTIONAL
    if words[0] == "repeated":
        field.label = _FIELD.LABEL_REPEATED
        words.pop(0)
    if words[0] == "packed":
        field.options.packed = True
        words.pop(0)
    kind, field.name, number, *default = words
    field.number = int(number)
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    elif kind in (enums or {}):
        field.type, field.type_name = _FIELD.TYPE_ENUM, (enums or {})[kind]
    elif kind in ENUMS:
        field.type, field.type_name = _FIELD.TYPE_ENUM, f".{PACKAGE}.{kind}Scope.{kind}"
    elif kind in MESSAGES:
        field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
    else:
        raise ValueError(f"no type {kind}")
    if default:
        field.default_value = default[0]


def _build() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="siamplex/messages.proto", package=PACKAGE, syntax="proto2")
    for name, values in ENUMS.items():
        # Values live in the enum's scope in Caffe, at file scope here would clash (MAX, CAFFE ...):
        # each enum sits in a holder message of its own, which text and wire formats never see.
        holder = file.message_type.add(name=f"{name}Scope")
        enum = holder.enum_type.add(name=name)
        for value, number in values.items():
            enum.value.add(name=value, number=number)
    for name, declarations in MESSAGES.items():
        message = file.message_type.add(name=name)
        for declaration in declarations:
            add_field(message, declaration)
        if name == "LayerParameter":  # the numbers between are there for what plug-ins declare
            taken = [*sorted(field.number for field in message.field if field.number >= 100), _MAX_NUMBER + 1]
            for below, above in pairwise(taken):
                if above > below + 1:
                    message.extension_range.add(start=below + 1, end=above)
    POOL.Add(file)
    return {name: message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in MESSAGES}


POOL = descriptor_pool.DescriptorPool()
_MAX_NUMBER = 2**29 - 1
_CLASSES = _build()

BlobProto = _CLASSES["BlobProto"]
Datum = _CLASSES["Datum"]
NetParameter = _CLASSES["NetParameter"]
NetState = _CLASSES["NetState"]
LayerParameter = _CLASSES["LayerParameter"]
V1LayerParameter = _CLASSES["V1LayerParameter"]
FillerParameter = _CLASSES["FillerParameter"]
SolverParameter = _CLASSES["SolverParameter"]
SolverState = _CLASSES["SolverState"]


def enum_name(message: Any, field: str) -> str:
    """Name of the value an enum field holds (``"MAX"``, say), its default where unset."""
    enum = message.DESCRIPTOR.fields_by_name[field].enum_type
    return str(enum.values_by_number[getattr(message, field)].name)


def enum_value(name: str, value: str) -> int:
    """Number of a value of an enum declared here."""
    return ENUMS[name][value]
