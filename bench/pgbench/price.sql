\set i random(1, 1000)
SELECT total FROM ducto_price(jsonb_build_object('model', 'model-7', 'input_tokens', :i::integer, 'output_tokens', 200));
