"""Legacy rules: detection and other operators of vision models, fused operators of exported Transformers."""

from __future__ import annotations

from .legacy_ops import Rule, rename, same

_SAME = """bipartite_match box_clip box_coder matrix_nms yolo_box
    yolo_box_head yolo_box_post fc skip_layernorm multihead_matmul fused_embedding_eltwise_layernorm fused_fc_elementwise_layernorm
    fused_bias_dropout_residual_layer_norm self_dp_attention fused_token_prune shuffle_batch class_center_sample margin_cross_entropy
    chunk_eval decode_jpeg read_file number_count limit_by_capacity random_routing 
    weighted_sample_neighbors sparse_attention flash_attn rank_attention tdm_child tdm_sampler beam_search beam_search_decode
    attention_lstm fusion_gru fusion_lstm fusion_repeated_fc_relu fusion_seqconv_eltadd_relu fusion_seqpool_concat
    fusion_squared_mat_sub fusion_transpose_flatten_concat fused_elementwise_add fused_elementwise_sub fused_elementwise_mul
    fused_elementwise_div nop merge_selected_rows get_tensor_from_selected_rows match_matrix_tensor pyramid_hash batch_fc
    fused_elemwise_activation fused_elemwise_add_activation fused_gate_attention
    fused_gemm_epilogue fused_seqpool_cvm fusion_seqpool_cvm_concat fused_conv2d_add_act fused_linear_param_grad_add
    nce"""


_PROPOSALS = rename(
    "generate_proposals",
    pre_nms_top_n="pre_nms_topN",
    post_nms_top_n="post_nms_topN",
    defaults={"pre_nms_top_n": 6000, "post_nms_top_n": 1000, "nms_thresh": 0.5, "min_size": 0.1, "eta": 1.0, "pixel_offset": True},
)

RULES: dict[str, Rule] = {
    **same(_SAME),
    "anchor_generator": rename("anchor_generator", variances_out="Variances"),
    "collect_fpn_proposals": rename("collect_fpn_proposals", post_nms_topn="post_nms_topN"),
    **{
        name: rename(name, defaults={"ring_id": 0, "use_calc_stream": True, "use_model_parallel": True, "rank": 0, "nranks": 1})
        for name in ("c_identity", "c_allreduce_sum", "c_concat", "c_split")
    },
    **{
        name: rename(name, defaults={"sample_size": -1, "sample_sizes": [], "return_eids": False, "flag_perm_buffer": False})
        for name in ("graph_khop_sampler", "graph_sample_neighbors")
    },
    "c_embedding": rename("c_embedding", weight="W", x="Ids"),
    "fused_batch_norm_act": rename("fused_batch_norm_act", out="Y"),
    "distribute_fpn_proposals": rename("distribute_fpn_proposals", defaults={"pixel_offset": True}),
    "fused_attention": rename(
        "fused_attention",
        qkv_weight="QKVW",
        out_linear_weight="OutLinearW",
        ln_scale_2="Ln2Scale",
        ln_bias_2="Ln2Bias",
        ln_var="LnVariance",
        ln_mean_2="Ln2Mean",
        ln_var_2="Ln2Variance",
        out="Y",
    ),
    "fused_feedforward": rename("fused_feedforward", dropout1_prob="dropout1_rate", dropout2_prob="dropout2_rate"),
    "generate_proposals_v2": _PROPOSALS,
    # earlier versions give fewer results: the first no index, neither the number of boxes an image
    **{name: rename("multiclass_nms3") for name in ("multiclass_nms", "multiclass_nms2", "multiclass_nms3")},
    "nms": rename("nms", x="Boxes", out="KeepBoxesIdxs", threshold="iou_threshold"),
    "prior_box": rename("prior_box", out="Boxes", var="Variances"),
    "psroi_pool": rename("psroi_pool", boxes="ROIs", boxes_num="RoisNum"),
    "roi_align": rename("roi_align", boxes="ROIs", boxes_num="RoisNum"),
    "roi_pool": rename("roi_pool", boxes="ROIs", boxes_num="RoisNum", arg_max="Argmax"),
    "yolov3_loss": rename("yolo_loss"),
}
